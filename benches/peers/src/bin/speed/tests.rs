//! Every call that is timed computes what softlane does.

use softlane::{Backend, Exec};

use crate::call::PEERS;
use crate::common::batch::Batch;
use crate::{ROWS, SLICES, named};

#[test]
fn every_call_computes_what_softlane_does() {
    let backend = Backend::active().unwrap();
    let exec = Exec::new().serial().backend(backend);
    for (rows, classes) in [(1, 1), (7, 10), (5, 64), (3, 1000)] {
        let batch = Batch::new(rows, classes);
        let mut compared = [0; PEERS.len()];
        for operation in ROWS.into_iter().chain(SLICES) {
            let mut y = vec![0.0; batch.x.len()];
            let returned = (named(operation).run)(exec, &batch, &mut y).unwrap();
            let want = match operation {
                "max" | "sum" | "cross-entropy" => vec![returned.unwrap()],
                "logsumexp" => y[..rows].to_vec(),
                _ => y,
            };
            for (peer, compared) in PEERS.iter().zip(&mut compared) {
                if let Some(call) = (peer.call)(operation, &batch) {
                    let got = call.results(&mut vec![0.0; batch.x.len()]);
                    let what = format!("{}, {operation}, {rows} x {classes}", peer.name);
                    assert_eq!(got.len(), want.len(), "{what}");
                    for (got, want) in got.iter().zip(&want) {
                        let near = (got - want).abs() <= 1e-4 * want.abs().max(1.0);
                        assert!(near, "{what}: {got} instead of {want}");
                    }
                    *compared += 1;
                }
            }
        }
        assert_eq!(compared, [6, 9, 5, 8]);
    }
}
