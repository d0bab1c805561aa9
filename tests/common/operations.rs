//! Every operation: how to call it, its exact results, and the bounds that its errors stay within.

use softlane::{BinaryCrossEntropy, CrossEntropy, Error, Exec, Reduction};

use super::corpus::{Batch, masked_or, ulps, ulps_of};
use super::oracle;
use super::textbook;
use super::ulp::Want;

/// What is promised of an operation, and how to see whether it is kept.
pub struct Operation {
    pub name: &'static str,
    /// What an ULP is one of.
    pub measure: &'static str,
    /// The error stays below this many ULP where multiply-add is fused.
    pub fused: f64,
    /// And where it is not: `portable` on SSE2 or wasm.
    pub unfused: f64,
    pub exact: fn(&Batch) -> Vec<Want>,
    /// The largest error that the textbook formula has: the bound of `scalar`.
    pub textbook: fn(&Batch) -> Vec<f64>,
    /// The ways to call it.
    pub forms: &'static [Form],
}

pub type Form = (&'static str, fn(Exec, &Batch) -> Result<Vec<f32>, Error>);

/// Fused: what is promised over the corpus. Not fused: the worst that this test or a longer search
/// found, rounded up to a quarter. There, every product that enters a sum is rounded first, in the
/// polynomial of the exponential above all: a weight is off by up to 1.8 u, and so is the sum of the
/// others, the other way.
pub const TABLE: &[Operation] = &[
    Operation {
        name: "exp",
        measure: "result",
        fused: 0.9,
        // Of all arguments: 1.176.
        unfused: 1.2,
        exact: |b| b.x.iter().map(|&x| Want::ulp(oracle::exp(x))).collect(),
        textbook: textbook::exp,
        forms: &[
            ("exp", |exec, b| b.output(b.x.len(), |y| exec.exp(&b.x, y))),
            ("exp_in_place", |exec, b| {
                b.over(&b.x, |x| exec.exp_in_place(x))
            }),
        ],
    },
    Operation {
        name: "max",
        // The error is 0 or infinite.
        measure: "exact",
        fused: 1.0,
        unfused: 1.0,
        exact: |b| vec![Want::exactly(oracle::max(&b.x))],
        textbook: |_| vec![0.0],
        forms: &[("max", |exec, b| Ok(vec![exec.max(&b.x)?]))],
    },
    Operation {
        name: "sum",
        measure: "sum of magnitudes",
        fused: 0.51,
        unfused: 0.51,
        exact: |b| {
            let terms = || b.x.iter().map(|&x| f64::from(x));
            let magnitudes = oracle::sum_of_magnitudes(terms());
            vec![Want::ulp_of(oracle::sum(terms()), magnitudes)]
        },
        textbook: textbook::sum,
        forms: &[("sum", |exec, b| Ok(vec![exec.sum(&b.x)?]))],
    },
    Operation {
        name: "softmax",
        measure: "result",
        fused: 2.0,
        unfused: 3.5,
        exact: |b| {
            b.rows(|row| {
                let p = oracle::softmax(row.x);
                p.into_iter()
                    .zip(row.x)
                    .map(|(p, &x)| masked_or(x, Want::ulp(p)))
                    .collect()
            })
        },
        textbook: textbook::softmax,
        forms: &[
            ("softmax", |exec, b| {
                b.output(b.x.len(), |y| exec.softmax(&b.x, b.classes, y))
            }),
            ("softmax_in_place", |exec, b| {
                b.over(&b.x, |x| exec.softmax_in_place(x, b.classes))
            }),
        ],
    },
    Operation {
        name: "log_softmax",
        measure: "result",
        fused: 1.6,
        unfused: 1.75,
        exact: |b| b.rows(|row| ulps(oracle::log_softmax(row.x))),
        textbook: textbook::log_softmax,
        forms: &[
            ("log_softmax", |exec, b| {
                b.output(b.x.len(), |y| exec.log_softmax(&b.x, b.classes, y))
            }),
            ("log_softmax_in_place", |exec, b| {
                b.over(&b.x, |x| exec.log_softmax_in_place(x, b.classes))
            }),
        ],
    },
    Operation {
        name: "logsumexp",
        measure: "max(|result|, 1)",
        fused: 0.8,
        unfused: 1.25,
        exact: |b| {
            b.rows(|row| {
                let lse = oracle::logsumexp(row.x);
                vec![Want::ulp_of(lse, lse.abs().max(1.0))]
            })
        },
        textbook: textbook::logsumexp,
        forms: &[("logsumexp", |exec, b| {
            b.output(b.rows, |y| exec.logsumexp(&b.x, b.classes, y))
        })],
    },
    Operation {
        name: "softmax_backward",
        measure: "larger operand",
        fused: 2.0,
        unfused: 2.75,
        exact: |b| b.rows(|row| ulps_of(oracle::softmax_backward(row.y, row.dy))),
        textbook: textbook::softmax_backward,
        forms: &[
            ("softmax_backward", |exec, b| {
                b.output(b.x.len(), |dx| {
                    exec.softmax_backward(&b.y, &b.dy, b.classes, dx)
                })
            }),
            ("softmax_backward_in_place", |exec, b| {
                b.over(&b.dy, |dy| {
                    exec.softmax_backward_in_place(&b.y, dy, b.classes)
                })
            }),
        ],
    },
    Operation {
        name: "log_softmax_backward",
        measure: "larger operand",
        fused: 2.5,
        unfused: 3.25,
        exact: |b| b.rows(|row| ulps_of(oracle::log_softmax_backward(row.log_y, row.dy))),
        textbook: textbook::log_softmax_backward,
        forms: &[
            ("log_softmax_backward", |exec, b| {
                b.output(b.x.len(), |dx| {
                    exec.log_softmax_backward(&b.log_y, &b.dy, b.classes, dx)
                })
            }),
            ("log_softmax_backward_in_place", |exec, b| {
                b.over(&b.dy, |dy| {
                    exec.log_softmax_backward_in_place(&b.log_y, dy, b.classes)
                })
            }),
        ],
    },
    Operation {
        name: "cross-entropy, a row",
        measure: "result",
        fused: 1.1,
        unfused: 1.5,
        exact: |b| ulps(b.losses()),
        textbook: textbook::losses,
        forms: &[
            ("loss_per_row", |exec, b| {
                b.output(b.rows, |losses| {
                    cross_entropy(exec).loss_per_row(&b.x, b.classes, &b.targets, losses)
                })
            }),
            ("loss_per_row_and_grad", |exec, b| {
                b.output(b.rows, |losses| {
                    b.output(b.x.len(), |grad| {
                        cross_entropy(exec)
                            .loss_per_row_and_grad(&b.x, b.classes, &b.targets, losses, grad)
                    })
                    .map(drop)
                })
            }),
            ("loss_per_row_and_grad_in_place", |exec, b| {
                b.output(b.rows, |losses| {
                    b.over(&b.x, |x| {
                        cross_entropy(exec)
                            .loss_per_row_and_grad_in_place(x, b.classes, &b.targets, losses)
                    })
                    .map(drop)
                })
            }),
        ],
    },
    Operation {
        name: "cross-entropy, sum and mean",
        measure: "result",
        fused: 1.1,
        unfused: 1.5,
        exact: |b| {
            let sum = oracle::sum(b.losses());
            ulps([sum, sum / b.count()])
        },
        textbook: |b| {
            let sum = oracle::sum(b.losses());
            textbook::sum_and_mean(&textbook::losses(b), sum, b.count())
        },
        forms: &[
            ("loss", |exec, b| {
                reduced(|reduction| {
                    cross_entropy(exec)
                        .reduction(reduction)
                        .loss(&b.x, b.classes, &b.targets)
                })
            }),
            ("loss_and_grad", |exec, b| {
                reduced(|reduction| {
                    b.beside(|grad| {
                        cross_entropy(exec)
                            .reduction(reduction)
                            .loss_and_grad(&b.x, b.classes, &b.targets, grad)
                    })
                })
            }),
            ("loss_and_grad_in_place", |exec, b| {
                reduced(|reduction| {
                    b.beside(|x| {
                        x.copy_from_slice(&b.x);
                        cross_entropy(exec)
                            .reduction(reduction)
                            .loss_and_grad_in_place(x, b.classes, &b.targets)
                    })
                })
            }),
        ],
    },
    Operation {
        name: "cross-entropy gradient, sum",
        measure: "result",
        fused: 2.0,
        unfused: 3.5,
        exact: |b| b.gradient(1.0),
        textbook: |b| textbook::gradient(b, 1.0),
        forms: &[
            ("loss_and_grad", |exec, b| {
                b.output(b.x.len(), |grad| {
                    cross_entropy(exec)
                        .reduction(Reduction::Sum)
                        .loss_and_grad(&b.x, b.classes, &b.targets, grad)
                        .map(drop)
                })
            }),
            ("loss_per_row_and_grad", |exec, b| {
                b.output(b.x.len(), |grad| {
                    b.output(b.rows, |losses| {
                        cross_entropy(exec)
                            .loss_per_row_and_grad(&b.x, b.classes, &b.targets, losses, grad)
                    })
                    .map(drop)
                })
            }),
            ("loss_per_row_and_grad_in_place", |exec, b| {
                b.over(&b.x, |x| {
                    b.output(b.rows, |losses| {
                        cross_entropy(exec)
                            .loss_per_row_and_grad_in_place(x, b.classes, &b.targets, losses)
                    })
                    .map(drop)
                })
            }),
        ],
    },
    Operation {
        name: "cross-entropy gradient, mean",
        measure: "result",
        fused: 2.0,
        unfused: 3.5,
        exact: |b| b.gradient(1.0 / b.count()),
        textbook: |b| textbook::gradient(b, 1.0 / b.count()),
        forms: &[
            ("loss_and_grad", |exec, b| {
                b.output(b.x.len(), |grad| {
                    cross_entropy(exec)
                        .loss_and_grad(&b.x, b.classes, &b.targets, grad)
                        .map(drop)
                })
            }),
            ("loss_and_grad_in_place", |exec, b| {
                b.over(&b.x, |x| {
                    cross_entropy(exec)
                        .loss_and_grad_in_place(x, b.classes, &b.targets)
                        .map(drop)
                })
            }),
        ],
    },
    Operation {
        name: "sigmoid",
        measure: "result",
        fused: 2.0,
        unfused: 2.25,
        exact: |b| b.x.iter().map(|&x| Want::ulp(oracle::sigmoid(x))).collect(),
        textbook: textbook::sigmoid,
        forms: &[
            ("sigmoid", |exec, b| {
                b.output(b.x.len(), |y| exec.sigmoid(&b.x, y))
            }),
            ("sigmoid_in_place", |exec, b| {
                b.over(&b.x, |x| exec.sigmoid_in_place(x))
            }),
        ],
    },
    Operation {
        name: "binary cross-entropy",
        measure: "result",
        fused: 2.5,
        unfused: 3.25,
        exact: |b| ulps(b.binary_losses()),
        textbook: textbook::binary_losses,
        forms: &[("loss_per_element", |exec, b| {
            b.output(b.x.len(), |losses| {
                binary(exec).loss_per_element(&b.x, b.classes, &b.labels, losses)
            })
        })],
    },
    Operation {
        name: "binary cross-entropy, sum and mean",
        measure: "result",
        fused: 2.0,
        unfused: 2.5,
        exact: |b| {
            let sum = oracle::sum(b.binary_losses());
            ulps([sum, sum / b.x.len() as f64])
        },
        textbook: |b| {
            let sum = oracle::sum(b.binary_losses());
            textbook::sum_and_mean(&textbook::binary_losses(b), sum, b.x.len() as f64)
        },
        forms: &[
            ("loss", |exec, b| {
                reduced(|reduction| {
                    binary(exec)
                        .reduction(reduction)
                        .loss(&b.x, b.classes, &b.labels)
                })
            }),
            ("loss_and_grad", |exec, b| {
                reduced(|reduction| {
                    b.beside(|grad| {
                        binary(exec)
                            .reduction(reduction)
                            .loss_and_grad(&b.x, b.classes, &b.labels, grad)
                    })
                })
            }),
            ("loss_and_grad_in_place", |exec, b| {
                reduced(|reduction| {
                    b.beside(|x| {
                        x.copy_from_slice(&b.x);
                        binary(exec)
                            .reduction(reduction)
                            .loss_and_grad_in_place(x, b.classes, &b.labels)
                    })
                })
            }),
        ],
    },
    Operation {
        name: "binary gradient, sum",
        measure: "larger term",
        fused: 2.0,
        unfused: 3.25,
        exact: |b| b.binary_gradient(1.0),
        textbook: |b| textbook::binary_gradient(b, 1.0),
        forms: &[("loss_and_grad", |exec, b| {
            b.output(b.x.len(), |grad| {
                binary(exec)
                    .reduction(Reduction::Sum)
                    .loss_and_grad(&b.x, b.classes, &b.labels, grad)
                    .map(drop)
            })
        })],
    },
    Operation {
        name: "binary gradient, mean",
        measure: "larger term",
        fused: 2.5,
        unfused: 4.0,
        exact: |b| b.binary_gradient(1.0 / b.x.len() as f64),
        textbook: |b| textbook::binary_gradient(b, 1.0 / b.x.len() as f64),
        forms: &[
            ("loss_and_grad", |exec, b| {
                b.output(b.x.len(), |grad| {
                    binary(exec)
                        .loss_and_grad(&b.x, b.classes, &b.labels, grad)
                        .map(drop)
                })
            }),
            ("loss_and_grad_in_place", |exec, b| {
                b.over(&b.x, |x| {
                    binary(exec)
                        .loss_and_grad_in_place(x, b.classes, &b.labels)
                        .map(drop)
                })
            }),
        ],
    },
];

fn cross_entropy(exec: Exec) -> CrossEntropy {
    CrossEntropy::new().exec(exec)
}

fn binary(exec: Exec) -> BinaryCrossEntropy {
    BinaryCrossEntropy::new().exec(exec)
}

/// The sum and the mean.
fn reduced(loss: impl Fn(Reduction) -> Result<f32, Error>) -> Result<Vec<f32>, Error> {
    Ok(vec![loss(Reduction::Sum)?, loss(Reduction::Mean)?])
}
