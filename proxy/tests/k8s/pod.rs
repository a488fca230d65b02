//! weir where a pod would run it: in the files of the image, with the volumes of the manifests mounted, as their user, without a right.
//! What a kubelet and a container engine would do is done by hand; `chroot` locks weir in, so that it finds only what a pod has.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use serde_json::Value;
use weir_testkit::{Guarded, Network, WorkDir};

use crate::render::{BASE, BROKERS, Objects, items, objects, root};

/// How long weir may take to answer, and to stop.
const WITHIN: Duration = Duration::from_secs(60);

/// One pod's files, below a folder of the test.
struct Pod {
    folder: WorkDir,
    objects: Objects,
    user: u32,
}

impl Pod {
    /// Lays out the image, and mounts what the manifests mount.
    fn of(folder: &str) -> Self {
        let objects = objects(folder);
        let user = u32::try_from(objects.pod()["securityContext"]["runAsUser"].as_u64().unwrap()).unwrap();
        let pod = Self { folder: WorkDir::new().unwrap(), objects, user };
        // The user of the pod must reach its root.
        fs::set_permissions(pod.folder.path(), Permissions::from_mode(0o755)).unwrap();
        let mut lay_out = Command::new(root().join("tools/image-root"));
        let made = lay_out.arg(env!("CARGO_BIN_EXE_weir")).arg(pod.root()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        for mount in items(&pod.objects.container()["volumeMounts"]) {
            pod.mount(mount);
        }
        pod
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// A path of the pod, seen from outside.
    fn path(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    /// Puts the files of a volume where the container mounts it, with the owner and the mode that a kubelet gives them.
    fn mount(&self, mount: &Value) {
        let (name, path) = (mount["name"].as_str().unwrap(), mount["mountPath"].as_str().unwrap());
        let folder = self.path(path);
        fs::create_dir_all(&folder).unwrap();
        let volume = items(&self.objects.pod()["volumes"]).iter().find(|volume| volume["name"] == name);
        let Some(volume) = volume else {
            // The claimed volume: its group is the pod's, which may write.
            chown(&folder, Some(0), Some(self.user)).unwrap();
            return fs::set_permissions(&folder, Permissions::from_mode(0o2775)).unwrap();
        };
        if let Some(map) = volume["configMap"]["name"].as_str() {
            let data = self.objects.named("ConfigMap", map)["data"].as_object().unwrap();
            let files = data.iter().map(|(file, content)| (file.clone(), content.as_str().unwrap().to_owned()));
            return self.publish(path, &files.collect::<Vec<_>>(), 0o644);
        }
        let mode = u32::try_from(volume["secret"]["defaultMode"].as_u64().unwrap()).unwrap();
        self.publish(path, &self.secret(&volume["secret"]), mode);
    }

    /// Puts files into a volume as a kubelet does: into a folder of their own, to which the link `..data` is turned in one step. What the
    /// container sees are links through `..data`.
    fn publish(&self, path: &str, files: &[(String, String)], mode: u32) {
        let volume = self.path(path);
        let generation = format!("..generation-{}", fs::read_dir(&volume).unwrap().count());
        fs::create_dir(volume.join(&generation)).unwrap();
        for (name, content) in files {
            let file = volume.join(&generation).join(name);
            fs::write(&file, content).unwrap();
            chown(&file, Some(0), Some(self.user)).unwrap();
            fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        }
        symlink(&generation, volume.join("..data_tmp")).unwrap();
        fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
        for (name, _) in files.iter().filter(|(name, _)| fs::symlink_metadata(volume.join(name)).is_err()) {
            symlink(Path::new("..data").join(name), volume.join(name)).unwrap();
        }
    }

    /// What stands in for a Secret: the files that its keys become.
    fn secret(&self, secret: &Value) -> Vec<(String, String)> {
        let text = self.configuration();
        let advertised = text.lines().find_map(|line| line.trim().strip_prefix("advertise: \"")).unwrap();
        let host = advertised.split(':').next().unwrap().to_owned();
        let pair = rcgen::generate_simple_self_signed([host]).unwrap();
        let keys = items(&secret["items"]).iter().map(|item| {
            let content = match item["key"].as_str().unwrap() {
                "ca.crt" => pair.cert.pem(),
                "password" => "of-no-broker".to_owned(),
                "key" => base64::engine::general_purpose::STANDARD.encode([7; 32]),
                other => panic!("nothing stands in for the key `{other}`"),
            };
            (item["path"].as_str().unwrap().to_owned(), content)
        });
        let keys: Vec<(String, String)> = keys.collect();
        if keys.is_empty() {
            // Of type kubernetes.io/tls.
            return vec![
                ("tls.crt".to_owned(), pair.cert.pem()),
                ("tls.key".to_owned(), pair.signing_key.serialize_pem()),
            ];
        }
        keys
    }

    fn configuration(&self) -> &str {
        let maps = self.objects.of_kind("ConfigMap");
        maps.into_iter().find_map(|map| map["data"]["weir.yaml"].as_str()).unwrap()
    }

    /// Locks a command in; `network` is `ip netns exec …` or nothing.
    fn lock_in(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.arg(format!("--userspec={0}:{0}", self.user)).arg("--groups=").arg(self.root());
        command.arg("/usr/local/bin/weir").args(arguments).env_clear().stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> (bool, String) {
        let Output { status, stdout, stderr } =
            self.lock_in(Command::new("/usr/sbin/chroot"), arguments).output().unwrap();
        (status.success(), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
    }

    fn check(&self) -> (bool, String) {
        self.run(&["check", "--config", "/etc/weir/config/weir.yaml"])
    }
}

#[test]
fn the_configurations_pass_the_check_where_they_are_mounted() {
    for (weir, _) in BROKERS {
        let pod = Pod::of(weir);
        let (good, told) = pod.check();
        assert!(good && told.contains("no problems"), "{weir}:\n{told}");
        let (good, told) = pod.run(&["policy", "test", "--config", "/etc/weir/config/weir.yaml"]);
        assert!(good && told.contains("pass"), "{weir}:\n{told}");
    }
}

#[test]
fn a_pod_with_a_mistake_does_not_pass() {
    let pod = Pod::of(BASE);
    // The path, and how a message names it when nothing is there.
    for (secret, name) in [
        ("/etc/weir/tls/tls.key", "/etc/weir/tls/tls.key"),
        ("/etc/weir/brokers-login/password", "`upstream.auth.password`"),
        ("/etc/weir/audit-key/key", "/etc/weir/audit-key/key"),
    ] {
        let file = pod.path(secret);
        // Without `defaultMode` a Secret's files are for everybody.
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        let (good, told) = pod.check();
        assert!(!good && told.contains(secret) && told.contains("open to every user"), "{secret}: {told}");
        fs::set_permissions(&file, Permissions::from_mode(0o440)).unwrap();
        let (good, told) = pod.check();
        assert!(good, "{told}");
        fs::rename(&file, file.with_extension("away")).unwrap();
        let (good, told) = pod.check();
        assert!(!good && told.contains(name) && told.contains("no such file"), "{secret}: {told}");
        fs::rename(file.with_extension("away"), &file).unwrap();
    }
    // What the image lacks, weir does not find: the lock holds.
    let mut libraries =
        fs::read_dir(pod.path("/lib")).unwrap().flatten().map(|each| each.path().join("libstdc++.so.6"));
    let library = libraries.find(|path| path.exists()).unwrap();
    fs::remove_file(library).unwrap();
    let (good, told) = pod.run(&["--version"]);
    assert!(!good && told.contains("libstdc++"), "{told}");
}

#[test]
fn the_image_holds_weir_and_what_it_is_linked_to() {
    let pod = Pod::of(BASE);
    let files = listing(&pod.root());
    let files = files.iter().filter_map(|line| line.split(' ').next()?.rsplit('/').next());
    let mut libraries: Vec<&str> = files.filter(|name| name.contains(".so")).collect();
    // Its name says which processor it is for.
    libraries.retain(|name| !name.starts_with("ld-linux"));
    assert_eq!(libraries, ["libc.so.6", "libgcc_s.so.1", "libm.so.6", "libstdc++.so.6"]);
    for absent in ["/bin/sh", "/usr/bin/env", "/usr/bin/apt-get"] {
        assert!(!pod.path(absent).exists(), "{absent}");
    }
}

#[test]
fn weir_serves_takes_new_policies_and_stops_in_a_pod() {
    let pod = Pod::of(BASE);
    let before = listing(&pod.root());
    let network = Network::create().unwrap();
    let mut weir = Running::start(&pod, &network);
    weir.until("alive", |weir| weir.probe("/livez") == Some(200));
    // No broker is there: alive, and not ready.
    assert_eq!((weir.probe("/readyz"), weir.probe("/metrics")), (Some(503), Some(200)));
    for port in 9192..=9195 {
        network.weir().run(|| TcpStream::connect(("127.0.0.1", port))).unwrap().unwrap();
    }
    assert_eq!(listing(&pod.root()), before, "weir wrote outside its volume");

    let policy = fs::read_to_string(pod.path("/etc/weir/policies/orders.yaml")).unwrap();
    let publish = |policy: String| pod.publish("/etc/weir/policies", &[("orders.yaml".to_owned(), policy)], 0o644);
    publish(policy.replace("keep_last: 4", "keep_last: four"));
    weir.until("a broken policy kept out", |weir| weir.told().contains("config.rejected"));
    assert!(!weir.told().contains("config.reloaded"), "{}", weir.told());
    publish(policy.replace("x-customer", "x-person"));
    weir.until("a new policy taken", |weir| weir.told().contains("config.reloaded"));

    assert!(weir.process.terminate(WITHIN).unwrap().success(), "{}", weir.told());
    assert!(pod.path("/var/lib/weir").read_dir().unwrap().count() > 0, "the log lies on the volume");
    let (good, told) = pod.run(&["audit", "verify", "--config", "/etc/weir/config/weir.yaml"]);
    assert!(good, "{told}");
}

/// The limit on memory holds what weir's own limits add up to, on as many processors as the limit on those gives; in the overlay too, where
/// both are others.
#[test]
fn the_limit_on_memory_holds_what_weir_reckons_with() {
    let reckoned = BROKERS.map(|(folder, _)| {
        let pod = Pod::of(folder);
        let network = Network::create().unwrap();
        let mut weir = Running::start(&pod, &network);
        weir.until("the banner", |weir| weir.told().contains("MiB by limits"));
        let limits = &pod.objects.container()["resources"]["limits"];
        let memory = memory_mib(&weir.told(), limits["cpu"].as_str().unwrap());
        let limit: u64 = limits["memory"].as_str().unwrap().strip_suffix("Mi").unwrap().parse().unwrap();
        assert!(memory < limit, "{folder}: {memory} MiB of {limit}: {}", weir.told());
        assert!(weir.process.terminate(WITHIN).unwrap().success(), "{folder}: {}", weir.told());
        (memory, limit)
    });
    // The control: it is their own configuration that they reckon with. The overlay lets in twice as many connections.
    assert!(reckoned[0].0 < reckoned[1].0, "{reckoned:?}");
}

/// `weir serve` in a pod, in a network of its own: the ports are those of the manifests.
struct Running<'a> {
    process: Guarded,
    pod: &'a Pod,
    network: &'a Network,
}

impl<'a> Running<'a> {
    fn start(pod: &'a Pod, network: &'a Network) -> Self {
        let arguments = items(&pod.objects.container()["args"]).iter().map(|argument| argument.as_str().unwrap());
        let mut command = pod.lock_in(network.weir().command("/usr/sbin/chroot"), &arguments.collect::<Vec<_>>());
        let file = |name| fs::File::create(pod.folder.path().join(name)).unwrap();
        command.stdout(file("out")).stderr(file("err"));
        Self { process: Guarded::spawn(&mut command, "weir in a pod").unwrap(), pod, network }
    }

    /// Everything that it printed so far.
    fn told(&self) -> String {
        self.pod.folder.read("out").unwrap() + &self.pod.folder.read("err").unwrap()
    }

    fn probe(&self, path: &str) -> Option<u16> {
        self.network.weir().run(|| get(9190, path)).unwrap()
    }

    fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + WITHIN;
        while !holds(self) {
            assert!(self.process.ended().unwrap().is_none(), "ended instead of {what}: {}", self.told());
            assert!(Instant::now() < deadline, "not {what} after {WITHIN:?}: {}", self.told());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The status of `GET path`, if there is an answer.
fn get(port: u16, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(WITHIN)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

/// What the line `memory` says, in MiB, for a number of processors that this machine need not have.
fn memory_mib(told: &str, processors: &str) -> u64 {
    let line = told.lines().find(|line| line.contains("MiB by limits")).unwrap_or_else(|| panic!("{told}"));
    let number = |text: &str| {
        text.rsplit(|letter: char| !letter.is_ascii_digit())
            .find(|word| !word.is_empty())
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    let total = number(line.split(" MiB by limits").next().unwrap());
    let inspection = number(line.split(" inspection").next().unwrap());
    let threads = number(line.split(" threads").next().unwrap());
    total - inspection + inspection / threads * processors.parse::<u64>().unwrap()
}

/// Every file of a pod but those of its volume, with size and time of the last change.
fn listing(root: &Path) -> Vec<String> {
    let mut find = Command::new("find");
    find.arg(root).args(["-path", "*/var/lib/weir", "-prune", "-o", "-printf", "%p %s %T@\n"]);
    let output = find.output().unwrap();
    let mut lines: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    lines.sort_unstable();
    assert!(lines.len() > 20, "{lines:?}");
    lines
}
