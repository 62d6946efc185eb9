//! A temporary folder and the program, run in it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Starting a program. Under Wine a process at times dies before its first instruction, which Windows calls
/// ERROR_INTERNAL_ERROR: nothing of the program has run, so it is started again.
pub trait Start {
    fn start(&mut self) -> Child;
    /// Waits for its end and gives what it wrote.
    fn start_and_wait(&mut self) -> Output;
}

impl Start for Command {
    fn start(&mut self) -> Child {
        again(|| self.spawn())
    }

    fn start_and_wait(&mut self) -> Output {
        again(|| self.output())
    }
}

fn again<T>(mut start: impl FnMut() -> std::io::Result<T>) -> T {
    const ERROR_INTERNAL_ERROR: i32 = 1359;
    for _ in 0..4 {
        match start() {
            Err(error) if cfg!(windows) && error.raw_os_error() == Some(ERROR_INTERNAL_ERROR) => {
                std::thread::sleep(Duration::from_millis(200));
            }
            result => return result.expect("the program starts"),
        }
    }
    start().expect("the program starts")
}

/// A temporary folder for one test.
pub struct TestDir {
    folder: TempDir,
}

impl TestDir {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file and gives its path.
    pub fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).expect("a folder");
        }
        std::fs::write(&path, contents).expect("a file");
        path
    }

    /// The program, run in this folder with nothing on stdin.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chargru"));
        command.args(args).current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Run {
        let output = self.command(args).start_and_wait();
        Run::of(args, output)
    }

    /// Starts the program, silent.
    pub fn start(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.start()
    }

    /// Starts the program, silent, and waits until it has written `path`.
    pub fn start_until(&self, args: &[&str], path: &str) -> Child {
        let mut child = self.start(args);
        let begun = Instant::now();
        loop {
            // In this order: a run that ends right after writing is no failure.
            let ended = child.try_wait().expect("its state");
            if self.path(path).exists() {
                break;
            }
            assert!(ended.is_none(), "it ended before {path} was there: {ended:?}");
            assert!(begun.elapsed() < Duration::from_secs(60), "{path} did not come");
            std::thread::sleep(Duration::from_millis(1));
        }
        child
    }

    /// Runs and expects success; gives stdout.
    pub fn ok(&self, args: &[&str]) -> String {
        let run = self.run(args);
        assert_eq!(run.code, Some(0), "{run:?}");
        run.stdout
    }

    /// Runs and expects this exit code and each of these parts in the message.
    pub fn fails(&self, code: i32, args: &[&str], says: &[&str]) {
        let run = self.run(args);
        assert_eq!(run.code, Some(code), "{run:?}");
        for part in says {
            assert!(run.stderr.contains(part), "{part:?} is missing in {run:?}");
        }
        assert!(!run.stderr.contains("panicked"), "{run:?}");
    }

    /// Trains a model of a few thousand parameters for a few steps into `out`.
    pub fn train_tiny(&self, out: &str, more: &[&str]) -> Run {
        if !self.path("tide.txt").exists() {
            self.file("tide.txt", TIDE.repeat(30));
        }
        let mut args = vec!["train", "--out", out];
        for (flag, value) in [
            ("--corpus", "tide.txt"),
            ("--hidden", "16"),
            ("--embedding", "8"),
            ("--layers", "1"),
            ("--batch", "4"),
            ("--seq-len", "16"),
            ("--steps", "30"),
            ("--warmup", "5"),
        ] {
            if !more.contains(&flag) {
                args.extend([flag, value]);
            }
        }
        // The layers alone, where a test does not ask for more.
        if !more.iter().any(|flag| flag.starts_with("--residual")) {
            args.push("--residual=false");
        }
        args.extend(more);
        self.run(&args)
    }
}

/// Text with a few characters, none of them rare.
pub const TIDE: &str = "The tide comes in, the tide goes out.\nNobody asks it why.\n";

/// A finished process.
#[derive(Debug)]
#[allow(dead_code)]
pub struct Run {
    args: Vec<String>,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    fn of(args: &[&str], output: Output) -> Self {
        Self {
            args: args.iter().map(ToString::to_string).collect(),
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// One JSON value.
pub fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A fixture of tests/reference.
pub fn reference(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference").join(name)
}
