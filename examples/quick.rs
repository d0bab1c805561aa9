//! q
use softlane::*;
use std::time::Instant;
fn main() {
    let b: Vec<_> = Backend::available().collect();
    for &(rows, classes) in &[(2000usize, 10usize), (1000, 64), (64, 1000), (16, 4096)] {
        let mut s = 1u64;
        let x: Vec<f32> = (0..rows * classes)
            .map(|_| {
                s = s
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                ((s >> 40) as f32 / 16777216.0 - 0.5) * 10.0
            })
            .collect();
        let t: Vec<u32> = (0..rows).map(|i| (i % classes) as u32).collect();
        let mut y = vec![0f32; x.len()];
        let mut lse = vec![0f32; rows];
        for &b in &b {
            let e = Exec::new().backend(b).serial();
            // accuracy
            e.softmax(&x, classes, &mut y).unwrap();
            let mut worst = 0f64;
            for r in 0..rows {
                let xr = &x[r * classes..][..classes];
                let m = xr.iter().cloned().fold(f32::MIN, f32::max) as f64;
                let sum: f64 = xr.iter().map(|&v| (v as f64 - m).exp()).sum();
                for i in 0..classes {
                    let p = (xr[i] as f64 - m).exp() / sum;
                    let pf = p as f32;
                    let ulp = (f32::from_bits(pf.to_bits() + 1) - pf) as f64;
                    worst = worst.max((y[r * classes + i] as f64 - p).abs() / ulp);
                }
            }
            let mut time = |name: &str, f: &mut dyn FnMut()| {
                let mut ts = vec![];
                for _ in 0..60 {
                    let n = 4;
                    let t0 = Instant::now();
                    for _ in 0..n {
                        f();
                    }
                    ts.push(t0.elapsed().as_nanos() as f64 / n as f64 / (rows * classes) as f64);
                }
                ts.sort_by(f64::total_cmp);
                print!("  {name} {:.3}", ts[30]);
            };
            print!("{rows}x{classes} {:?} ulp {worst:.2}", b.name());
            time("softmax", &mut || e.softmax(&x, classes, &mut y).unwrap());
            time("log_softmax", &mut || {
                e.log_softmax(&x, classes, &mut y).unwrap()
            });
            time("lse", &mut || e.logsumexp(&x, classes, &mut lse).unwrap());
            time("ce", &mut || {
                CrossEntropy::new()
                    .exec(e)
                    .loss_and_grad(&x, classes, &t, &mut y)
                    .unwrap();
            });
            time("exp", &mut || e.exp(&x, &mut y).unwrap());
            time("sigmoid", &mut || e.sigmoid(&x, &mut y).unwrap());
            time("bce", &mut || {
                BinaryCrossEntropy::new()
                    .exec(e)
                    .loss_and_grad(&x, classes, &x, &mut y)
                    .unwrap();
            });
            time("sum", &mut || {
                e.sum(&x).unwrap();
            });
            time("max", &mut || {
                e.max(&x).unwrap();
            });
            println!();
        }
    }
}
