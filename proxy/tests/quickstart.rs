//! The quick start of `docs/quickstart.md`, command by command, in front of a real Kafka. What differs from the page are the ports, which must
//! be free here.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use weir_testkit::{Console, Kafka, KafkaOptions, PortBlock, Ready, WeirOptions, WeirProcess, WorkDir};

/// Where the page has broker, gateway and metrics.
const BROKER: &str = "localhost:9092";
const GATEWAY: &str = "127.0.0.1:9192";

struct Reader {
    directory: WorkDir,
    kafka: Kafka,
    ports: PortBlock,
    weir: Option<WeirProcess>,
}

impl Reader {
    fn new() -> Self {
        let kafka = Kafka::start(KafkaOptions::default()).unwrap();
        Self { directory: WorkDir::new().unwrap(), kafka, ports: PortBlock::reserve().unwrap(), weir: None }
    }

    /// Types one line of the page; gives what was on the screen.
    fn types(&mut self, line: &str) -> String {
        let line = line.replace(BROKER, self.kafka.bootstrap()).replace(GATEWAY, &self.ports.address(0));
        let (input, command) = match line.strip_prefix("echo '").and_then(|rest| rest.split_once("' | ")) {
            Some((text, command)) => (format!("{text}\n"), command),
            None => (String::new(), line.as_str()),
        };
        let words = command.split_whitespace().collect::<Vec<_>>();
        match words.as_slice() {
            ["weir", "serve"] => self.serves(),
            ["weir", arguments @ ..] => self.weir(arguments),
            [tool, arguments @ ..] if tool.ends_with(".sh") => kafka_tool(tool, arguments, &input),
            _ => panic!("the page has a command that this test does not know: {line}"),
        }
    }

    fn weir(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        let Output { status, stdout, stderr } =
            command.args(arguments).current_dir(self.directory.path()).output().unwrap();
        let said = String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap();
        assert!(status.success(), "weir {arguments:?}: {said}");
        if arguments[0] == "init" {
            // Ports that are free here, and the log in this directory whoever runs the test.
            let path = self.directory.path().join("weir.yaml");
            let written = std::fs::read_to_string(&path).unwrap();
            assert_eq!(written.lines().count(), 4, "{written}");
            let metrics = self.ports.address(PortBlock::LEN - 1);
            let moved = written.replace(GATEWAY, &self.ports.address(0));
            std::fs::write(&path, format!("{moved}admin: {{ metrics: \"{metrics}\" }}\ndata_dir: data\n")).unwrap();
        }
        said
    }

    fn serves(&mut self) -> String {
        let ready = Ready::Readyz(self.ports.address(PortBlock::LEN - 1).parse().unwrap());
        let config = self.directory.path().join("weir.yaml");
        let options = WeirOptions::new(Path::new(env!("CARGO_BIN_EXE_weir")), &config, ready);
        let weir = self.weir.insert(WeirProcess::start(options).unwrap());
        weir.output().unwrap()
    }
}

/// Runs the class behind one of Kafka's scripts.
fn kafka_tool(script: &str, arguments: &[&str], input: &str) -> String {
    let class = match script {
        "kafka-topics.sh" => "org.apache.kafka.tools.TopicCommand",
        "kafka-console-producer.sh" => "org.apache.kafka.tools.ConsoleProducer",
        "kafka-console-consumer.sh" => "org.apache.kafka.tools.consumer.ConsoleConsumer",
        _ => panic!("{script}"),
    };
    let ["--bootstrap-server", address, rest @ ..] = arguments else { panic!("{script} {arguments:?}") };
    let finished = Console::new(address).run(class, rest, input.as_bytes()).unwrap();
    finished.stdout + &finished.stderr
}

fn page() -> String {
    let root: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned();
    std::fs::read_to_string(root.join("docs/quickstart.md")).unwrap()
}

#[test]
fn the_quick_start_does_what_it_says() {
    let page = page();
    let mut reader = Reader::new();
    let (mut block, mut screen) = (None, String::new());
    let mut typed = 0;
    for line in page.lines() {
        match (block, line) {
            (None, "```sh") => block = Some("sh"),
            (None, "```") => block = Some("shown"),
            (Some(_), "```") => block = None,
            // The build is what this test runs in.
            (Some("sh"), "./justw build") => {}
            (Some("sh"), line) => {
                screen = reader.types(line);
                typed += 1;
            }
            (Some(_), line) => assert!(screen.contains(line), "`{line}` is not in\n{screen}"),
            (None, _) => {}
        }
    }
    assert!(typed >= 10, "{typed} commands");
    // The end of the page is an intact log.
    assert!(screen.contains("chain and tree intact"), "{screen}");
    // The control: what was refused is not on the broker, and the card number is nowhere.
    assert_eq!(reader.kafka.end_offset("orders", 0).unwrap(), 1);
    assert!(reader.kafka.find_bytes(b"4111111111111111").unwrap().is_empty());
    assert!(!reader.kafka.find_bytes(b"************1111").unwrap().is_empty());
}
