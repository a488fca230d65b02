//! Every command and every YAML document in the documentation, run.

#![expect(clippy::unwrap_used, reason = "test code")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use weir_testkit::{Authority, WorkDir};

/// The fenced blocks of one language in a Markdown file.
fn blocks(markdown: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<String> = None;
    for line in markdown.lines() {
        match &mut open {
            None if line == format!("```{language}") => open = Some(String::new()),
            Some(block) if line == "```" => {
                blocks.push(std::mem::take(block));
                open = None;
            }
            Some(block) => {
                block.push_str(line);
                block.push('\n');
            }
            None => {}
        }
    }
    blocks
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn weir(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir")).args(arguments).current_dir(directory).output().unwrap()
}

fn succeeds(directory: &Path, arguments: &[&str]) -> String {
    let output = weir(directory, arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "weir {}:\n{text}", arguments.join(" "));
    text
}

#[test]
fn the_policies_in_the_documentation_pass_their_own_tests() {
    for document in ["README.md", "docs/policies.md"] {
        let text = std::fs::read_to_string(root().join(document)).unwrap();
        let policies = blocks(&text, "yaml").into_iter().filter(|block| block.contains("access:")).collect::<Vec<_>>();
        assert!(!policies.is_empty(), "{document} has no policy");
        for policy in policies {
            let directory = WorkDir::new().unwrap();
            std::fs::write(directory.path().join("policy.yaml"), &policy).unwrap();
            let told = succeeds(directory.path(), &["policy", "test", "policy.yaml"]);
            assert!(told.contains("pass"), "{document}: {told}");
            // The control: a policy that masks nothing does not pass tests that expect masks.
            if policy.contains("fields:") {
                let toothless =
                    policy.replace("$.card.number", "$.absent.number").replace("$.card.cvc", "$.absent.cvc");
                std::fs::write(directory.path().join("policy.yaml"), toothless).unwrap();
                assert!(!weir(directory.path(), &["policy", "test", "policy.yaml"]).status.success(), "{document}");
            }
        }
    }
}

#[test]
fn the_readme_configuration_is_accepted_and_its_commands_run() {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    let yaml = blocks(&text, "yaml");
    let [configuration, policy] = yaml.as_slice() else { panic!("the README shows one configuration and one policy") };
    let directory = WorkDir::new().unwrap();
    std::fs::create_dir(directory.path().join("policies")).unwrap();
    std::fs::write(directory.path().join("weir.yaml"), format!("{configuration}data_dir: data\n")).unwrap();
    std::fs::write(directory.path().join("policies/orders.yaml"), policy).unwrap();
    let commands = blocks(&text, "sh").join("");
    let commands = commands
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter_map(|line| line.strip_prefix("weir "))
        .collect::<Vec<_>>();
    assert_eq!(commands.len(), 5, "the README's commands: {commands:?}");
    for command in commands {
        let arguments = command.split_whitespace().collect::<Vec<_>>();
        match arguments.as_slice() {
            // Needs ports of its own; every end-to-end test runs it. Its help must exist.
            ["serve"] => drop(succeeds(directory.path(), &["serve", "--help"])),
            // Nothing was recorded here yet, which is never success (3), and no error of usage (2).
            ["audit", ..] => {
                let code = weir(directory.path(), &arguments).status.code();
                assert!(matches!(code, Some(3 | 4)), "weir {command}: {code:?}");
            }
            _ => drop(succeeds(directory.path(), &arguments)),
        }
    }
}

#[test]
fn the_audit_page_is_accepted_and_its_commands_run() {
    let text = std::fs::read_to_string(root().join("docs/audit.md")).unwrap();
    let directory = WorkDir::new().unwrap();
    std::fs::create_dir(directory.path().join("policies")).unwrap();
    std::fs::write(directory.path().join("policies/none.yaml"), "version: 1\n").unwrap();
    let rest = "version: 1\ndata_dir: data\nupstream: { bootstrap: [\"localhost:9092\"] }\npolicies: [\"policies/*.yaml\"]\n\
                listeners: [ { name: try, bind: \"127.0.0.1:9192\", auth: { anonymous: {} } } ]\n";
    for yaml in blocks(&text, "yaml") {
        std::fs::write(directory.path().join("weir.yaml"), format!("{rest}{yaml}")).unwrap();
        assert!(succeeds(directory.path(), &["check"]).contains("no problems"));
    }
    std::fs::write(directory.path().join("trust.txt"), "").unwrap();
    let flat = text.lines().map(str::trim_start).collect::<Vec<_>>().join("\n");
    let mut ran = 0;
    for line in blocks(&flat, "sh").join("").lines() {
        let command = line.strip_prefix("weir ").unwrap().split(" > ").next().unwrap();
        // A text in quotes is one argument.
        let parts = command.split('"').enumerate().flat_map(|(at, part)| {
            let words: Vec<&str> = if at % 2 == 1 { vec![part] } else { part.split_whitespace().collect() };
            words
        });
        let arguments = parts.collect::<Vec<_>>();
        let output = weir(directory.path(), &arguments);
        // Nothing was recorded here, which is never success (3), and no error of usage (2), but for the files that are not there.
        let given = arguments.contains(&"--anchor");
        let expected = if given { 2 } else { 3 };
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(expected), "weir {command}: {told}");
        assert!(!given || told.contains("trust file has no key"), "{told}");
        ran += 1;
    }
    assert_eq!(ran, 10);
}

#[test]
fn the_wrapper_commands_of_the_readme_exist() {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    let justfile = std::fs::read_to_string(root().join("justfile")).unwrap();
    let tasks = blocks(&text, "sh").join("");
    let tasks = tasks
        .lines()
        .filter_map(|line| line.strip_prefix("./justw "))
        .filter_map(|line| line.split_whitespace().next())
        .collect::<Vec<_>>();
    assert_eq!(tasks, ["demo", "test"]);
    for task in tasks {
        let named = |line: &str| line.starts_with(&format!("{task}:")) || line.starts_with(&format!("{task} "));
        assert!(justfile.lines().any(named), "justfile has no `{task}`");
    }
}

#[test]
fn the_configuration_with_tls_is_accepted() {
    let text = std::fs::read_to_string(root().join("docs/tls.md")).unwrap();
    let yaml = blocks(&text, "yaml");
    let [configuration] = yaml.as_slice() else { panic!("docs/tls.md shows one configuration") };
    let directory = WorkDir::new().unwrap();
    directory.write("weir.yaml", configuration).unwrap();
    directory.write("policies/none.yaml", "version: 1\naccess: []\n").unwrap();
    let authority = Authority::new("the company's CA").unwrap();
    directory.write("tls/kafka-ca.pem", authority.pem()).unwrap();
    for (name, host) in [("weir", "weir.internal"), ("door", "kafka.example.com")] {
        let certificate = authority.issue(&[host]).unwrap();
        directory.write(&format!("tls/{name}.crt"), &certificate.cert).unwrap();
        directory.write(&format!("tls/{name}.key"), &certificate.key).unwrap();
    }
    let told = succeeds(directory.path(), &["check"]);
    assert!(told.contains("no problems"), "{told}");
    // The control: without the files it is not.
    std::fs::remove_file(directory.path().join("tls/door.key")).unwrap();
    assert!(!weir(directory.path(), &["check"]).status.success());
}

#[test]
fn the_configuration_of_the_page_on_identity_is_accepted() {
    let text = std::fs::read_to_string(root().join("docs/identity.md")).unwrap();
    let yaml = blocks(&text, "yaml");
    let [configuration] = yaml.as_slice() else { panic!("one configuration") };
    let directory = WorkDir::new().unwrap();
    directory.write("policies/any.yaml", "version: 1\naccess: []\n").unwrap();
    let check = |configuration: &str| {
        directory.write("weir.yaml", format!("{configuration}data_dir: data\n")).unwrap();
        weir(directory.path(), &["check"])
    };
    let told = check(configuration);
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stdout));
    // The control: keys that anybody could put in their place.
    let open = configuration.replace("https://sso", "http://sso");
    assert_ne!(&open, configuration);
    assert!(!check(&open).status.success());
}

#[test]
fn the_retention_in_the_documentation_is_accepted() {
    let text = std::fs::read_to_string(root().join("docs/disk.md")).unwrap();
    let blocks = blocks(&text, "yaml");
    let [retain] = blocks.as_slice() else { panic!("docs/disk.md shows one configuration") };
    let directory = WorkDir::new().unwrap();
    std::fs::write(directory.path().join("policy.yaml"), "version: 1\naccess: []\n").unwrap();
    let rest = "version: 1\ndata_dir: data\nupstream: { bootstrap: [\"localhost:9092\"] }\npolicies: [\"policy.yaml\"]\n\
                listeners: [ { name: try, bind: \"127.0.0.1:9192\", auth: { anonymous: {} } } ]\n";
    std::fs::write(directory.path().join("weir.yaml"), format!("{rest}{retain}")).unwrap();
    succeeds(directory.path(), &["check", "--strict"]);
    std::fs::write(directory.path().join("weir.yaml"), format!("{rest}{}", retain.replace("prune", "rotate"))).unwrap();
    assert!(!weir(directory.path(), &["check"]).status.success(), "the control");
}

/// Every relative link of the documentation leads to a file that is there.
#[test]
fn the_links_of_the_documentation_lead_somewhere() {
    let mut pages = vec![root().join("README.md"), root().join("ARCHITECTURE.md")];
    for folder in ["docs", "docs/clients"] {
        let entries = std::fs::read_dir(root().join(folder)).unwrap();
        pages.extend(
            entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|it| it == "md")),
        );
    }
    let mut followed = 0;
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
        for link in links.filter(|link| !link.contains("://")) {
            let (path, _) = link.split_once('#').unwrap_or((link, ""));
            assert!(path.is_empty() || page.parent().unwrap().join(path).exists(), "{}: {link}", page.display());
            followed += 1;
        }
    }
    assert!(followed > 20, "{followed} links");
}

#[test]
fn the_login_to_the_brokers_in_the_documentation_is_accepted() {
    let text = std::fs::read_to_string(root().join("docs/upstream.md")).unwrap();
    let yaml = blocks(&text, "yaml");
    let [upstream] = yaml.as_slice() else { panic!("docs/upstream.md shows one configuration") };
    let directory = WorkDir::new().unwrap();
    std::fs::create_dir(directory.path().join("policies")).unwrap();
    std::fs::write(directory.path().join("policies/none.yaml"), "version: 1\naccess: []\n").unwrap();
    let rest = "version: 1\ndata_dir: data\npolicies: [\"policies/*.yaml\"]\n\
                listeners: [ { name: try, bind: \"127.0.0.1:9192\", auth: { anonymous: {} } } ]\n";
    std::fs::write(directory.path().join("weir.yaml"), format!("{upstream}{rest}")).unwrap();
    // The control: without its password it is refused.
    assert!(!weir(directory.path(), &["check"]).status.success());
    directory.write("kafka.password", "any\n").unwrap();
    succeeds(directory.path(), &["check", "--strict"]);
}
