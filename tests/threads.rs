//! How large batches go with rayon: within the caller's own parallel work, and where the system refuses
//! its threads.

#![cfg(all(feature = "rayon", target_os = "linux"))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::env;
use std::process::Command;
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use rayon::ThreadPoolBuilder;
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use softlane::{CrossEntropy, Exec};

const CLASSES: usize = 1000;

/// More than an address space of 1 GiB has room for, with 64 MiB of stack each; what is left then is enough for everything
/// else.
const THREADS: &str = "200";
const STACK: &str = "67108864";

/// A batch that is spread over threads where there are some, and its results on this one.
fn batch() -> (Vec<f32>, Vec<f32>) {
    let x: Vec<f32> = (0..1000 * CLASSES).map(|i| (i % 17) as f32).collect();
    let mut serial = vec![0.0; x.len()];
    let exec = Exec::new().serial();
    exec.softmax(&x, CLASSES, &mut serial).unwrap();
    (x, serial)
}

/// Calls from as many tasks as there are threads, and from more: there may be nobody to help.
#[test]
fn within_other_work_of_a_pool() {
    let (x, serial) = batch();
    for threads in [1, 2, 3] {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        let run: Vec<(usize, Vec<f32>)> = pool.unwrap().install(|| {
            let task = |_| {
                let mut y = vec![0.0; x.len()];
                softlane::softmax(&x, CLASSES, &mut y[..]).unwrap();
                (rayon::current_num_threads(), y)
            };
            (0..2 * threads + 1).into_par_iter().map(task).collect()
        });
        assert_eq!(run.len(), 2 * threads + 1);
        for (pool, y) in run {
            assert_eq!(pool, threads);
            assert_eq!(y, serial);
        }
    }
}

/// A call does no other work of the pool: here that would want the lock which the same thread holds already.
#[test]
fn while_a_lock_is_held() {
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        let (x, serial) = batch();
        let lock = Mutex::new(vec![0.0; x.len()]);
        let pool = ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        pool.install(|| {
            (0..20).into_par_iter().for_each(|_| {
                let mut y = lock.lock().unwrap();
                y.fill(0.0);
                softlane::softmax(&x, CLASSES, &mut y[..]).unwrap();
                assert_eq!(*y, serial);
            });
        });
        done.send(()).unwrap();
    });
    let limit = Duration::from_secs(300);
    let ended = is_done.recv_timeout(limit);
    assert_eq!(ended, Ok(()), "it hangs, or it failed");
}

/// Calls from threads that belong to no pool, each of which works on its own batch with the help of the global one.
#[test]
fn from_threads_of_no_pool() {
    let (x, serial) = batch();
    let targets: Vec<usize> = (0..x.len() / CLASSES).map(|row| row % CLASSES).collect();
    let loss = |exec| CrossEntropy::new().exec(exec).loss(&x, CLASSES, &targets);
    let serial_loss = loss(Exec::new().serial()).unwrap().to_bits();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..4 {
                    let mut y = vec![0.0; x.len()];
                    softlane::softmax(&x, CLASSES, &mut y[..]).unwrap();
                    assert_eq!(y, serial);
                    assert_eq!(loss(Exec::new()).unwrap().to_bits(), serial_loss);
                }
            });
        }
    });
}

/// Run by the next test, in a process that cannot have the threads that it asks for.
#[test]
#[ignore = "the next test runs it"]
fn without_threads() {
    if env::var_os("RAYON_NUM_THREADS").is_none_or(|n| n != THREADS) {
        println!("not alone: there may be a pool");
        return;
    }
    if env::var_os("TRIED").is_some() {
        // The program has tried itself, before.
        ThreadPoolBuilder::new().build_global().unwrap_err();
    }
    let (x, serial) = batch();
    let mut y = vec![0.0; x.len()];
    softlane::softmax(&x, CLASSES, &mut y[..]).unwrap();
    assert_eq!(y, serial);
    // There really is no pool.
    ThreadPoolBuilder::new().build().unwrap_err();
    println!("no pool, and no panic");
}

#[test]
fn a_pool_that_cannot_be_made() {
    if env::var_os("SOFTLANE_RUNNER").is_some() {
        println!("not in an emulator, which needs more memory than this leaves");
        return;
    }
    for tried in [false, true] {
        let mut command = Command::new("sh");
        command
            .args(["-c", r#"ulimit -v 1048576 && exec "$0" "$@""#])
            .arg(env::current_exe().unwrap())
            .args(["--exact", "without_threads", "--ignored", "--nocapture"])
            .env("RAYON_NUM_THREADS", THREADS)
            .env("RUST_MIN_STACK", STACK)
            // Of glibc: no address space for each thread to allocate in.
            .env("MALLOC_ARENA_MAX", "1");
        if tried {
            command.env("TRIED", "1");
        }
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert!(output.status.success(), "{text}");
        assert!(text.contains("no pool, and no panic"), "{text}");
    }
}
