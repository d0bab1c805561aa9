//! Reads the assembly text that rustc writes for x86-64 on Linux: functions, their calls, and their
//! innermost loops.

use std::collections::BTreeSet;

/// One instruction: `vaddps`, `%ymm0, %ymm1, %ymm2`.
#[derive(Clone, Copy, Debug)]
pub struct Instruction<'a> {
    pub name: &'a str,
    pub operands: &'a str,
}

impl<'a> Instruction<'a> {
    /// Whether it computes or compares whole vectors of floats.
    pub fn is_vector_arithmetic(self) -> bool {
        let name = self.name.strip_prefix('v').unwrap_or(self.name);
        let kinds = [
            "add", "sub", "mul", "div", "max", "min", "fm", "fnm", "cmp", "cvtps2pd",
        ];
        (name.ends_with("ps") || name.ends_with("pd")) && kinds.iter().any(|k| name.starts_with(k))
    }

    pub fn is_fused(self) -> bool {
        self.is_vector_arithmetic() && ["vfm", "vfnm"].iter().any(|k| self.name.starts_with(k))
    }

    /// Whether it writes some lanes by a mask in a vector register, which takes AMD's processors dozens of operations.
    pub fn is_masked_store(self) -> bool {
        self.name.starts_with("vmaskmov") && self.operands.ends_with(')')
    }

    /// Whether it reads or writes the stack: a spilled register, in a loop.
    pub fn uses_stack(self) -> bool {
        self.operands.contains("(%rsp") || self.operands.contains("(%rbp")
    }

    /// What it calls: a symbol, or a register behind a `*`. A jump out of the function is a call.
    pub fn callee(self) -> Option<&'a str> {
        let leaves = self.name.starts_with("call")
            || (self.name.starts_with('j') && !self.operands.starts_with(".L"));
        leaves.then(|| {
            let symbol = self.operands.trim_start_matches('*');
            match symbol.split_once('@') {
                Some((symbol, _)) => symbol,
                None => self.operands,
            }
        })
    }

    /// Whether what stands below it is reached through it.
    fn falls_through(self) -> bool {
        let returns = self
            .callee()
            .is_none_or(|callee| !callee.contains("9panicking"));
        returns && !["jmp", "jmpq", "ret", "retq", "ud2"].contains(&self.name)
    }
}

/// Instructions that run one after the other, and the blocks that may follow.
#[derive(Debug, Default)]
struct Block<'a> {
    instructions: Vec<Instruction<'a>>,
    next: Vec<usize>,
}

/// A function, in the order of the text.
#[derive(Debug)]
pub struct Function<'a> {
    pub name: &'a str,
    blocks: Vec<Block<'a>>,
}

/// The functions of an assembly text. Of those that are the same, one has the code and the others are made equal to it:
/// these are left out.
pub fn functions(text: &str) -> Vec<Function<'_>> {
    let tables: Vec<_> = text.lines().filter_map(table_entry).collect();
    let aliases: BTreeSet<_> = aliases(text).collect();
    let mut functions = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(name) = line
            .trim()
            .strip_prefix(".type")
            .and_then(|rest| rest.trim().strip_suffix(",@function"))
            && !aliases.contains(name)
        {
            let body = lines.by_ref().take_while(|line| !line.contains(".size"));
            functions.push(Function {
                name,
                blocks: blocks(body, &tables),
            });
        }
    }
    functions
}

/// The names of functions whose code stands under another name.
pub fn aliases(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter_map(|line| Some(line.split_once(" = ")?.0.trim()))
}

/// A jump table, and a label in it.
fn table_entry(line: &str) -> Option<(&str, &str)> {
    let (label, table) = line.trim().strip_prefix(".long")?.split_once('-')?;
    Some((table, label.trim()))
}

fn blocks<'a>(
    lines: impl Iterator<Item = &'a str>,
    tables: &[(&'a str, &'a str)],
) -> Vec<Block<'a>> {
    let mut blocks = vec![Block::default()];
    let mut labels = Vec::new();
    let mut table = None;
    for line in lines {
        let code = line.split('#').next().unwrap_or_default().trim();
        if let Some(label) = code.strip_suffix(':') {
            blocks.push(Block::default());
            labels.push((label, blocks.len() - 1));
        } else if !code.is_empty() && !code.starts_with('.') {
            let (name, operands) = code.split_once(char::is_whitespace).unwrap_or((code, ""));
            let mut operands = operands.trim();
            if let Some((loaded, _)) = operands.split_once("(%rip)")
                && loaded.starts_with(".LJTI")
            {
                table = Some(loaded);
            } else if name.starts_with('j') && operands.starts_with("*%") {
                // By the table whose address was loaded; else it leaves the function.
                operands = table.unwrap_or(operands);
            }
            let instruction = Instruction { name, operands };
            let last = blocks.len() - 1;
            blocks[last].instructions.push(instruction);
            if name.starts_with('j') || !instruction.falls_through() {
                blocks.push(Block::default());
            }
        }
    }
    for i in 0..blocks.len() {
        let last = blocks[i].instructions.last().copied();
        if i + 1 < blocks.len() && last.is_none_or(Instruction::falls_through) {
            blocks[i].next.push(i + 1);
        }
        if let Some(jump) = last.filter(|last| last.name.starts_with('j')) {
            let is_target =
                |label| label == jump.operands || tables.contains(&(jump.operands, label));
            let targets = labels.iter().filter(|(label, _)| is_target(*label));
            blocks[i].next.extend(targets.map(|&(_, block)| block));
        }
    }
    blocks
}

impl<'a> Function<'a> {
    pub fn instructions(&self) -> impl Iterator<Item = Instruction<'a>> {
        self.blocks
            .iter()
            .flat_map(|b| b.instructions.iter().copied())
    }

    /// The symbols that it calls, or loads the address of: where that goes is not followed, and a
    /// call through a register is only named if there is none.
    pub fn calls(&self) -> BTreeSet<&'a str> {
        let loaded: BTreeSet<_> = self
            .instructions()
            .filter(|i| i.name == "movq")
            .filter_map(|i| Some(i.operands.split_once("@GOTPCREL")?.0))
            .collect();
        let callees = self.instructions().filter_map(Instruction::callee);
        let is_told = |callee: &&str| !callee.starts_with('*') || loaded.is_empty();
        &loaded | &callees.filter(is_told).collect()
    }

    /// The instructions of each loop that has no smaller loop inside.
    ///
    /// A loop is a block through which one must go (its head), and whatever leads back to it from
    /// there, wherever the compiler has put it.
    pub fn innermost_loops(&self) -> Vec<Vec<Instruction<'a>>> {
        let next: Vec<_> = self.blocks.iter().map(|b| b.next.clone()).collect();
        let mut previous = vec![Vec::new(); next.len()];
        for (from, to) in next.iter().enumerate() {
            for &to in to {
                previous[to].push(from);
            }
        }
        let runs = reached(&next, 0, None);
        let mut loops = BTreeSet::new();
        for &head in &runs {
            let before = reached(&next, 0, Some(head));
            let behind = |from: &&usize| **from == head || !before.contains(from);
            let back = previous[head].iter().filter(|from| runs.contains(from));
            let bodies = back
                .filter(behind)
                .map(|&from| reached(&previous, from, Some(head)));
            loops.extend(bodies.reduce(|a, b| &a | &b));
        }
        let is_innermost = |body: &&BTreeSet<usize>| {
            let mut others = loops.iter().filter(|other| other != body);
            !others.any(|other| other.is_subset(body))
        };
        let instructions = |body: &BTreeSet<usize>| {
            let blocks = body.iter().map(|&block| &self.blocks[block].instructions);
            blocks.flatten().copied().collect()
        };
        loops
            .iter()
            .filter(is_innermost)
            .map(instructions)
            .collect()
    }
}

/// Where the edges lead from a block on, itself included, without going on from `end`.
fn reached(edges: &[Vec<usize>], start: usize, end: Option<usize>) -> BTreeSet<usize> {
    let mut found = BTreeSet::from([start]);
    let mut todo = vec![start];
    while let Some(block) = todo.pop() {
        if Some(block) != end {
            todo.extend(edges[block].iter().filter(|&&to| found.insert(to)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Instruction, aliases, functions};

    /// A loop over rows: a call, a loop over vectors, a panic that is laid out behind, and a loop
    /// with a call in a block that is laid out behind it too.
    const TEXT: &str = "
	.type	rows,@function
rows:
	.cfi_startproc
	xorl	%eax, %eax
.LBB0_1:
	callq	*memset@GOTPCREL(%rip)
.LBB0_2:
	vmovups	(%rdi,%rax), %ymm0	# a comment
	vfmadd213ps	%ymm1, %ymm2, %ymm0
	vaddps	8(%rsp), %ymm0, %ymm0
	cmpq	%rcx, %rax
	jae	.LBB0_8
	jne	.LBB0_2
.LBB0_3:
	vmulps	%ymm0, %ymm0, %ymm0
	testq	%rdx, %rdx
	je	.LBB0_9
.LBB0_4:
	decq	%rdx
	jne	.LBB0_3
	decq	%rsi
	jne	.LBB0_1
	movq	memcpy@GOTPCREL(%rip), %rbx
	callq	*%rbx
	retq
.LBB0_8:
	callq	*_RNvNtCsgEmfK2I1SDS_4core9panicking18panic_bounds_check@GOTPCREL(%rip)
.LBB0_9:
	callq	*%r14
	jmp	.LBB0_4
.Lfunc_end0:
	.size	rows, .Lfunc_end0-rows
	.type	tail,@function
tail:
	callq	*%rax
	jmp	other
	.size	tail, .Lfunc_end1-tail
	.type	switch,@function
switch:
	leaq	.LJTI2_0(%rip), %rcx
	jmpq	*%rax
.LBB2_1:
	mulps	%xmm0, %xmm0
	jne	.LBB2_1
.LBB2_2:
	retq
	.size	switch, .Lfunc_end2-switch
	.type	same,@function
same = switch
	.section	.rodata
.LJTI2_0:
	.long	.LBB2_1-.LJTI2_0
	.long	.LBB2_2-.LJTI2_0
";

    #[test]
    fn tells_masked_stores_from_loads() {
        let is_store = |operands| {
            let name = "vmaskmovps";
            Instruction { name, operands }.is_masked_store()
        };
        assert!(is_store("%ymm2, %ymm1, 32(%rcx)"));
        assert!(!is_store("32(%rcx), %ymm1, %ymm2"));
    }

    #[test]
    fn finds_functions_and_calls() {
        let functions = functions(TEXT);
        let panic = "_RNvNtCsgEmfK2I1SDS_4core9panicking18panic_bounds_check";
        assert_eq!(functions[0].calls(), [panic, "memcpy", "memset"].into());
        assert_eq!(functions[1].calls(), ["*%rax", "other"].into());
        assert!(functions[2].calls().is_empty());
        let names: Vec<_> = functions.iter().map(|f| f.name).collect();
        assert_eq!(names, ["rows", "tail", "switch"]);
        assert_eq!(aliases(TEXT).collect::<Vec<_>>(), ["same"]);
    }

    #[test]
    fn finds_innermost_loops() {
        let functions = functions(TEXT);
        let loops = functions[0].innermost_loops();
        let names: Vec<Vec<_>> = loops
            .iter()
            .map(|l| l.iter().map(|i| i.name).collect())
            .collect();
        let over_vectors = ["vmovups", "vfmadd213ps", "vaddps", "cmpq", "jae", "jne"];
        let with_a_call = ["vmulps", "testq", "je", "decq", "jne", "callq", "jmp"];
        assert_eq!(names, [&over_vectors[..], &with_a_call[..]]);
        assert_eq!(
            loops[0].iter().filter(|i| i.is_vector_arithmetic()).count(),
            2
        );
        assert_eq!(loops[0].iter().filter(|i| i.is_fused()).count(), 1);
        assert_eq!(loops[0].iter().filter(|i| i.uses_stack()).count(), 1);
        assert_eq!(loops[1].iter().find_map(|i| i.callee()), Some("*%r14"));
        // Behind a jump table.
        let loops = functions[2].innermost_loops();
        assert_eq!((loops.len(), loops[0][0].name), (1, "mulps"));
    }
}
