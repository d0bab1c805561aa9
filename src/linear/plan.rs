//! How many rows, and threads, a budget of memory has room for.

/// Rows of which gradients are added up together, and whose logits are the least that is held at a time. Every chunk is a multiple, so that results do not depend
/// on the budget.
pub const PIECE: usize = 64;

/// Classes whose weights are at work together: so few that their gradient stays in a cache from one piece of rows to the next, and so many that copies of the features pay. (256 to 1024 are within 3 % of each other.) A
/// multiple of 256, which `matrixmultiply` adds up at a time.
pub const PANEL: usize = 512;

/// What `matrixmultiply` 0.3 allocates for a product: copies of 64 rows and of 1024 columns, of 256 elements each; and a little beside.
const PACKED: usize = 4 * 256 * (64 + 1024) + (64 << 10);

/// What is held if there is no budget, beside the least for all threads: beyond that, time hardly depends on it (docs/performance.md).
const DEFAULT: usize = 128 << 20;

/// Bytes that are held.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// Whatever the number of rows.
    once: usize,
    row: usize,
    thread: usize,
}

/// How much is done at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Rows, a multiple of [`PIECE`].
    pub rows: usize,
    /// Threads, at most.
    pub threads: usize,
}

impl Need {
    /// For a layer with so many classes and features; `copies` says whether weights are copied to be widened, and `soft`, whether targets are distributions.
    pub fn new([classes, features]: [usize; 2], copies: bool, soft: bool) -> Self {
        let of = |bytes: usize, count: usize| bytes.saturating_mul(count);
        let f32s = |count: usize| of(size_of::<f32>(), count);
        let [piece, panel] = [PIECE, PANEL].map(|rows| move |columns| f32s(of(rows, columns)));
        // The gradient of the bias.
        let once = of(size_of::<f64>(), classes);
        Self {
            once: once.saturating_add(if soft { piece(classes) } else { 0 }),
            // Logits, features, and which row it is.
            row: f32s(classes)
                .saturating_add(f32s(features))
                .saturating_add(size_of::<usize>()),
            thread: PACKED.saturating_add(if copies { panel(features) } else { 0 }),
        }
    }

    fn of(&self, rows: usize, threads: usize) -> usize {
        let [rows, threads] = [
            self.row.saturating_mul(rows),
            self.thread.saturating_mul(threads),
        ];
        self.once.saturating_add(rows).saturating_add(threads)
    }

    /// The least that is enough.
    pub fn least(&self) -> usize {
        self.of(PIECE, 1)
    }

    /// What is done at a time of so many rows, on that many threads at most; nothing, if the budget is less than the least, or that more than a program can have.
    pub fn plan(&self, budget: Option<usize>, rows: usize, threads: usize) -> Option<Plan> {
        let budget = budget.unwrap_or(DEFAULT.saturating_add(self.of(PIECE, threads)));
        // More bytes no program has.
        let budget = budget.min(usize::MAX / 2);
        let threads = (1..=threads.max(1))
            .rev()
            .find(|&threads| self.of(PIECE, threads) <= budget)?;
        let fit = ((budget - self.of(0, threads)) / self.row.max(1) / PIECE).max(1);
        // As many in each chunk.
        let pieces = rows.div_ceil(PIECE).max(1);
        let chunks = pieces.div_ceil(fit);
        Some(Plan {
            rows: pieces.div_ceil(chunks) * PIECE,
            threads,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{DEFAULT, Need, PACKED, PIECE, Plan};

    #[test]
    fn what_is_planned_fits() {
        for size in [[0, 0], [10, 64], [50_257, 768], [128_256, 4096]] {
            for (copies, soft) in [(false, false), (true, false), (false, true)] {
                let need = Need::new(size, copies, soft);
                let least = need.least();
                assert_eq!(need.plan(Some(least - 1), 1000, 2), None);
                let one = Plan {
                    rows: PIECE,
                    threads: 1,
                };
                assert_eq!(need.plan(Some(least), 1000, 2), Some(one));
                for budget in [least + PACKED, 2 * least, 10 * least, usize::MAX / 2] {
                    for rows in [0, 1, 64, 65, 1000] {
                        let Some(plan) = need.plan(Some(budget), rows, 3) else {
                            unreachable!("it is not less than the least");
                        };
                        assert!(need.of(plan.rows, plan.threads) <= budget);
                        assert!(plan.rows > 0 && plan.rows.is_multiple_of(PIECE));
                        assert!(plan.rows < rows + PIECE || rows == 0);
                    }
                }
            }
        }
    }

    #[test]
    fn a_budget_that_nobody_gave_is_enough() {
        for size in [[1 << 20, 1 << 20], [50_257, 768], [10, 64]] {
            for threads in [1, 2, 64] {
                let plan = Need::new(size, false, false).plan(None, 1 << 30, threads);
                assert!(plan.is_some_and(|plan| plan.threads == threads));
                let fit = DEFAULT / (4 * (size[0] + size[1]) + 8);
                assert!(plan.is_some_and(|plan| plan.rows >= fit / PIECE * PIECE));
            }
        }
    }

    #[test]
    fn chunks_are_as_large_as_each_other() {
        let need = Need::new([1000, 10], false, false);
        // Room for ten pieces; sixteen are eight and eight.
        let plan = need.plan(Some(need.of(10 * PIECE, 1)), 16 * PIECE, 1);
        assert_eq!(plan.map(|plan| plan.rows), Some(8 * PIECE));
    }

    #[test]
    fn sizes_that_no_memory_holds_are_less_than_no_budget() {
        let need = Need::new([usize::MAX, usize::MAX], true, true);
        assert_eq!(need.least(), usize::MAX);
        for budget in [None, Some(0), Some(usize::MAX - 1), Some(usize::MAX)] {
            assert_eq!(need.plan(budget, 1, 1), None);
        }
    }
}
