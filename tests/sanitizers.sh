#!/usr/bin/env bash
# The tests under tools that see undefined behaviour: AddressSanitizer, ThreadSanitizer, valgrind and
# Miri. All of them, or those that are named: `tests/sanitizers.sh address valgrind`.
#
# A tool that is not installed is skipped, and the last lines say so; what is named must run. What
# each tool leaves out is said where it runs.
set -euo pipefail
cd "$(dirname "$0")/.."

export CARGO_TERM_COLOR=never CARGO_TERM_PROGRESS_WHEN=never
# Each tool compiles everything in its own way, so in a directory of its own.
target="${CARGO_TARGET_DIR:-$PWD/target}"
host=$(rustc -vV | sed -n 's/^host: //p')
runner="CARGO_TARGET_$(tr 'a-z-' 'A-Z_' <<<"$host")_RUNNER"

parts=(address thread valgrind miri)
if (($#)); then
    named=1
    parts=("$@")
else
    named=0
fi

current='the tools'
summary=()
trap '(($? == 0)) || printf "\nsanitizers: failed: %s\n" "$current"' EXIT

heading() {
    printf '\n==== %s\n' "$1"
}

note() {
    printf '   %s\n' "$1"
}

# Announces a run, runs it, and says how long it took.
step() {
    local start=$SECONDS
    current=$1
    shift
    printf '\n== %s\n   %s%s\n' "$current" "${RUSTFLAGS:+RUSTFLAGS=$RUSTFLAGS }" "$*"
    "$@"
    printf '== %s: passed in %d s\n' "$current" $((SECONDS - start))
    summary+=("$current: passed in $((SECONDS - start)) s")
}

# Runs tests by name, and fails if a name matches none.
matched() {
    local output
    output=$("$@" | tee /dev/stderr)
    if grep -q 'ok\. 0 passed' <<<"$output"; then
        echo 'a name matches no test' >&2
        return 1
    fi
}

# Says that a tool does not run. Not what was asked for by name.
skip() {
    current=$1
    printf '\n== %s: skipped: %s\n' "$1" "$2"
    summary+=("$1: skipped: $2")
    ((!named))
}

cpu_has() {
    grep -qw "$1" /proc/cpuinfo 2>/dev/null
}

# What the processor has, the tests may not do without. Of `avx512`, not every tool knows.
require() {
    local require=()
    if cpu_has avx2 && cpu_has fma; then require+=(avx2); fi
    if [[ ${1:-} == avx512 ]] && cpu_has avx512f; then require+=(avx512); fi
    SOFTLANE_REQUIRE=$(IFS=,; echo "${require[*]:-}")
    export SOFTLANE_REQUIRE
    note "required here: ${SOFTLANE_REQUIRE:-no vector backend}"
}

nightly() {
    cargo +nightly --version >/dev/null 2>&1
}

# The standard library's source, to compile it with a sanitizer.
has_source() {
    [[ -e $(rustc +nightly --print sysroot)/lib/rustlib/src/rust/library/Cargo.lock ]]
}

address() {
    heading AddressSanitizer
    if ! nightly; then skip AddressSanitizer 'it needs the nightly compiler'; return; fi
    require avx512
    note 'left out: the tests of inlining, which read assembly that the sanitizer adds to, and'
    note 'within_the_bounds, which makes the calls of the other tests again, to look at digits, and'
    note 'a_pool_that_cannot_be_made, which leaves too little memory'
    export RUSTFLAGS=-Zsanitizer=address
    step 'AddressSanitizer, the tests on every backend' \
        cargo +nightly test --tests --target "$host" --target-dir "$target/address" -- \
        --skip inlined_with_all_types --skip inlined_without_std --skip within_the_bounds \
        --skip a_pool_that_cannot_be_made
    unset RUSTFLAGS
}

# A standard library that was not compiled with the sanitizer hides its synchronisation, and then rayon
# seems to race. With its source, it is compiled too; without, there is nothing to learn.
thread() {
    heading ThreadSanitizer
    if ! nightly; then skip ThreadSanitizer 'it needs the nightly compiler'; return; fi
    if ! has_source; then
        skip ThreadSanitizer 'it needs the source of the standard library: rustup +nightly component add rust-src'
        return
    fi
    require avx512
    note 'left out: what stays on one thread, and any_number_of_threads, which makes the same calls on'
    note 'more batches and pools'
    export RUSTFLAGS=-Zsanitizer=thread
    step 'ThreadSanitizer, batches on rayon threads on every backend' \
        matched cargo +nightly test -Zbuild-std --target "$host" --target-dir "$target/thread" \
        --test memory --test same_bits -- --nocapture \
        every_call_on_threads any_number_of_threads_where_the_order_shows a_row_that_threads_share
    step 'ThreadSanitizer, how threads are called' \
        matched cargo +nightly test -Zbuild-std --target "$host" --target-dir "$target/thread" \
        --lib -- --nocapture helpers parallel shared
    unset RUSTFLAGS
}

# Memcheck runs the compiled tests as they are, but knows no AVX-512: it hides that from them, and
# they fall back to avx2. One test thread, as memcheck has one.
memcheck() {
    local filter=$1
    shift
    env "$runner=valgrind --quiet --error-exitcode=99" \
        cargo test "$@" -- --test-threads=1 --nocapture "$filter"
}

valgrind_() {
    heading valgrind
    if ! valgrind --version >/dev/null 2>&1; then skip valgrind 'it is not installed'; return; fi
    require
    note 'left out: avx512, which valgrind does not know; everything but the tests of memory, of edges'
    note 'at any address, and of what the processor has, since it takes fifty times as long'
    step 'valgrind, every call on allocations of its own' \
        matched memcheck every_call_on_allocations_of_its_own --test memory
    step 'valgrind, every call on rows that are copied' \
        matched memcheck every_call_on_rows_that_are_copied --test memory
    step 'valgrind, slices at any address' matched memcheck unaligned_slices --test edges
    step 'valgrind, the backends that it left' \
        matched memcheck required_backends_are_available --test backends
}

# Miri interprets: few shapes, and batches of a few hundred elements for threads (src/parallel.rs).
# It has no instruction set but what the compiler's target has.
interpret() {
    SOFTLANE_TEST_SHAPES=few MIRIFLAGS="-Zmiri-env-forward=SOFTLANE_TEST_SHAPES $1" \
        cargo +nightly miri test --target-dir "$target/miri" "${@:2}" -- --nocapture
}

miri() {
    heading Miri
    if ! cargo +nightly miri --version >/dev/null 2>&1 || ! has_source; then
        skip Miri 'it needs rustup +nightly component add miri rust-src'
        return
    fi
    note 'left out: avx512, whose maxima and comparisons Miri does not know (what it does with its many'
    note 'registers runs on avx2); every test but those of memory, of helpers and of src/partly.rs'
    step 'Miri, scalar and portable' matched interpret '' --test memory every_call_on_allocations_of_its_own
    step 'Miri, scalar and portable, copies' matched interpret '' --test memory every_call_on_rows_that_are_copied
    step 'Miri, arrays that are partly written' matched interpret '' --lib partly
    export RUSTFLAGS='-Ctarget-feature=+avx2,+fma,+f16c'
    step 'Miri, avx2 and fused portable' matched interpret '' --test memory every_call_on_allocations_of_its_own
    step 'Miri, avx2 and fused portable, copies' matched interpret '' --test memory every_call_on_rows_that_are_copied
    unset RUSTFLAGS
    # The queues of rayon (crossbeam-epoch) break the rules of Stacked Borrows, Miri's default, and their
    # memory lives until the end.
    rules='-Zmiri-tree-borrows -Zmiri-ignore-leaks'
    step 'Miri, threads' matched interpret "$rules" --test memory every_call_on_threads
    step 'Miri, how threads are called' matched interpret "$rules" --lib helpers
}

for part in "${parts[@]}"; do
    case $part in
        address | thread | miri) "$part" ;;
        valgrind) valgrind_ ;;
        *)
            current="no part is named $part: address, thread, valgrind, miri"
            exit 2
            ;;
    esac
done

printf '\n'
printf 'sanitizers: %s\n' "${summary[@]}"
