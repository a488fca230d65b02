//! What one inspection holds at most, beside what weir's banner reckons with. Each case runs in a process
//! of its own, whose peak of resident memory the kernel keeps (`VmHWM`).

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and stops when its input is wrong")]

use std::hint::black_box;
use std::process::Command;

use weir_benches::{batch_of, compressed_batch_of, document, rules};
use weir_policy::{SELECTED_VALUES_MAX, SELECTION_BYTES_MAX, Scratch};
use weir_protocol::records::{self, Limits, Options};

/// Fields of a rule, and the values of a batch that opens to nearly `batch_bytes_max`.
struct Case {
    name: &'static str,
    fields: &'static str,
    values: fn(usize) -> Vec<String>,
}

const CASES: &[Case] = &[
    Case { name: "documents of 1 KB, three masks", fields: MASKS, values: documents },
    Case { name: "documents of 1 KB, one value longer", fields: LONGER, values: documents },
    Case {
        name: "two documents of 1,000,000 values, all longer",
        fields: SMALL,
        values: |bytes| vec![many(bytes / 2, SELECTED_VALUES_MAX), many(bytes / 2, SELECTED_VALUES_MAX)],
    },
    Case {
        name: "one document of as many values as fit",
        fields: SMALL,
        values: |bytes| vec![many(bytes, usize::MAX)],
    },
];

const MASKS: &str = r#"{path: "$.card.number", transform: mask}, {path: "$.customer.email", transform: mask}, {path: "$.customer.name", transform: mask}"#;
const LONGER: &str = r#"{path: "$.currency", transform: redact}"#;
const SMALL: &str = r#"{path: "$..a", transform: redact}"#;

fn documents(bytes: usize) -> Vec<String> {
    let (mut values, mut sum) = (Vec::new(), 0);
    loop {
        let value = document(values.len());
        sum += value.len() + RECORD_OVERHEAD;
        if sum > bytes {
            return values;
        }
        values.push(value);
    }
}

/// A list of so many small objects, then a string that fills the rest; no two alike, so that it does not compress to nothing.
fn many(bytes: usize, most: usize) -> String {
    let mut letters = Letters(0x9e37_79b9_7f4a_7c15);
    let mut text = String::with_capacity(bytes);
    text.push('[');
    for _ in 0..most {
        if text.len() + 32 + RECORD_OVERHEAD > bytes {
            break;
        }
        text.push_str(r#"{"a":""#);
        text.extend([letters.next(), letters.next()]);
        text.push_str(r#""},"#);
    }
    text.push('"');
    while text.len() + RECORD_OVERHEAD < bytes {
        text.push(letters.next());
    }
    text + "\"]"
}

/// Letters by xorshift, the same in each run.
struct Letters(u64);

impl Letters {
    fn next(&mut self) -> char {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        char::from(b'a' + u8::try_from(self.0 % 26).unwrap())
    }
}

/// More than a record has around its value, with its key.
const RECORD_OVERHEAD: usize = 40;

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--case").skip(1);
    if let (Some(case), Some(codec)) = (arguments.next(), arguments.next()) {
        return inspect(&CASES[case.parse::<usize>().unwrap()], codec == "zstd");
    }
    let limits = Limits::default();
    println!(
        "one inspection at batch_bytes_max = {} MiB, peak of resident memory above what the frame takes",
        limits.batch_bytes_max >> 20
    );
    let reckoned = (limits.rewrite_bytes_max() + SELECTION_BYTES_MAX) as f64 / limits.batch_bytes_max as f64;
    let mut worst = 0_f64;
    for (at, case) in CASES.iter().enumerate() {
        for codec in ["none", "zstd"] {
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["--case", &at.to_string(), codec])
                .output()
                .unwrap();
            assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
            let said = String::from_utf8(child.stdout).unwrap();
            let (bytes, outcome) = said.trim().split_once(' ').unwrap();
            let factor = bytes.parse::<f64>().unwrap() / limits.batch_bytes_max as f64;
            worst = worst.max(factor);
            println!("{:<46} {codec:<5} {factor:>5.2} x batch_bytes_max   {outcome}", case.name);
        }
    }
    println!("{}  at most {worst:.2}, reckoned with {reckoned:.2}", if worst <= reckoned { "holds" } else { "FAILS" });
    assert!(worst <= reckoned);
}

/// Prints by how many bytes one inspection raised the peak, and how it ended.
fn inspect(case: &Case, compressed: bool) {
    let limits = Limits::default();
    let (rules, options) = (rules(case.fields), Options { limits: &limits, digest_key: None });
    let mut frame = {
        let values = (case.values)(limits.batch_bytes_max).into_iter();
        if compressed { compressed_batch_of(values) } else { batch_of(values) }
    };
    let (mut codec, mut scratch) = (records::Scratch::default(), Scratch::default());
    // What the input was made with has gone back; from here on the peak counts anew.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS:");
    let mut inspector = rules.inspector(&mut scratch);
    let outcome = match records::rewrite_produce(&mut frame, 13, &options, &mut inspector, &mut codec) {
        Ok(rewritten) => format!("{} records edited, {} refused", rewritten.edited_records, rewritten.refused.len()),
        Err(error) => format!("refused: {error}"),
    };
    black_box(inspector.finish());
    println!("{} {outcome}", status("VmHWM:").saturating_sub(before));
}

/// A figure of `/proc/self/status`, bytes.
fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
