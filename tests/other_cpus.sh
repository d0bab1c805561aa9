#!/usr/bin/env bash
# Runs the tests on processors that this machine does not have, in emulators:
#
#     tests/other_cpus.sh [haswell | nehalem | neon | wasm]...    (all of them by default)
#
#     haswell   x86-64 with AVX2, without AVX-512       qemu-x86_64
#     nehalem   x86-64 without AVX                      qemu-x86_64
#     neon      aarch64                                 qemu-aarch64
#     wasm      wasm32 with simd128, one thread         node
#
# That all of them give the bits that are committed is one of the tests (tests/same_bits.rs). For root on
# Debian 12 or 13 on x86-64: it installs what it needs. qemu has no AVX-512. On two cores, qemu takes a
# quarter of an hour for each processor, wasm three minutes; and every target is compiled, once.
set -euo pipefail
cd "$(dirname "$0")/.."

export CARGO_TERM_COLOR=never CARGO_TERM_PROGRESS_WHEN=never
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}"
mkdir -p "$CARGO_TARGET_DIR"
log=$CARGO_TARGET_DIR/other_cpus.log

# qemu takes 50 times as long. So tests/accuracy.rs tries one batch of 15, and some of each class of
# rows; it says so.
sample=${SOFTLANE_SAMPLE:-15}

fail() {
    printf 'other_cpus: %s\n' "$*" >&2
    exit 1
}

# Announces a step, runs it, and says how long it took.
step() {
    local start=$SECONDS
    printf '\n== %s\n' "$1"
    "${@:2}"
    printf '== %s: passed in %d s\n' "$1" $((SECONDS - start))
}

skips=()
skip() {
    grep -qw "fn $1" tests/*.rs || fail "there is no test $1 to skip"
    printf 'skipped: %s: %s\n' "$1" "$2"
    skips+=(--skip "$1")
}

installed() {
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# Installs those of the packages that are missing.
packages() {
    local package missing=()
    for package in "$@"; do
        installed "$package" || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    command -v apt-get >/dev/null || fail "only Debian is supported; needed: ${missing[*]}"
    ((EUID == 0)) || fail "only root can install: ${missing[*]}"
    [[ ${missing[*]} != *:arm64* ]] || dpkg --add-architecture arm64
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends "${missing[@]}" \
        >"$log" 2>&1 || { cat "$log" >&2; fail "cannot install: ${missing[*]}"; }
}

# The processor $1 has exactly the backends $2, and calls use the last one. The rest is for cargo.
backends() {
    local name=$1 expected=$2 active supported
    shift 2
    probe() {
        cargo test "$@" --test backends -- --exact every_call_obeys_softlane_backend --nocapture
    }
    active=$(probe "$@" | sed -n 's/.*active: //p')
    supported=$(SOFTLANE_BACKEND=none probe "$@" | sed -n 's/.*; supported: //p')
    printf '%s: %s; active: %s\n' "$name" "$supported" "$active"
    [[ $supported == "$expected" ]] || fail "$name: not the backends $expected"
    [[ $active == "${expected##* }" ]] || fail "$name: ${expected##* } is not active"
}

# All tests on the processor $1, but those that are skipped. The rest is for cargo.
suite() {
    local name=$1
    shift
    cargo test "$@" --tests --no-fail-fast -- --exact --show-output "${skips[@]}" 2>&1 |
        grep --line-buffered -E '^test |^ +Running|SOFTLANE_|the bits that|panicked|^error'
}

# Everything on the processor $1 of the target $2, by the emulator $3, with the backends $4.
emulated() {
    local name=$1 target=$2 emulator=$3 expected=$4 variable
    variable=CARGO_TARGET_${target^^}_RUNNER
    export "${variable//-/_}=$emulator" "SOFTLANE_RUNNER=$emulator" "SOFTLANE_SAMPLE=$sample"
    skip any_number_of_threads 'takes half an hour; any_number_of_threads_where_the_order_shows runs'
    skip inlined_by_default "$no_assembly"
    skip inlined_without_std "$no_assembly"
    step "$name: tests compiled" cargo test --target "$target" --tests --no-run
    step "$name: backends" backends "$name" "$expected" --target "$target"
    step "$name: tests" suite "$name" --target "$target"
}
no_assembly='it reads the assembly of x86-64, outside emulators'
x86_64=x86_64-unknown-linux-gnu

haswell() (
    packages qemu-user
    # The emulator lacks these, and would say so in every thread; no test needs them.
    missing=pcid=off,x2apic=off,tsc-deadline=off,hle=off,invpcid=off,rtm=off
    # A masked load of one element before a page without access faults in qemu 7.2, not on a processor.
    skip no_access_beyond_a_slice 'the masked loads of qemu read the whole vector'
    skip no_access_beyond_the_slices_of_options 'the same'
    emulated haswell "$x86_64" "qemu-x86_64 -cpu Haswell,$missing" 'scalar, portable, avx2'
)

nehalem() (
    packages qemu-user
    emulated nehalem "$x86_64" 'qemu-x86_64 -cpu Nehalem' 'scalar, portable'
)

# Debian's compiler, which has standard libraries for other targets.
debian_rust() {
    packages rustc-web "$@"
    export RUSTC=/usr/bin/rustc
}

# Run with the C library of arm64 (a dynamic loader of another version than that, as in
# libc6-arm64-cross, hangs when it makes a thread).
neon() (
    debian_rust libstd-rust-web-dev:arm64 libc6:arm64 gcc-aarch64-linux-gnu libc6-dev-arm64-cross \
        qemu-user
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
    emulated neon aarch64-unknown-linux-gnu qemu-aarch64 'scalar, portable'
)

# Debian has the source of the standard library, a C library for wasm, and a linker. node is about as
# fast as this processor, so no sample.
wasm() (
    debian_rust rust-web-src wasi-libc
    llvm=$("$RUSTC" -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
    packages "lld-$llvm"
    command -v node >/dev/null || packages nodejs
    libc=/usr/lib/wasm32-wasi
    flags=(
        -C target-feature=+simd128
        -C "linker=wasm-ld-$llvm" -C linker-flavor=wasm-ld -C link-self-contained=no
        -L "$libc" -C "link-arg=$libc/crt1-command.o"
        # Debian 12's C library has no functions of threads: a call would end the program.
        -C link-arg=--unresolved-symbols=ignore-all
    )
    export CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS=${flags[*]}
    node='node --no-warnings --experimental-wasi-unstable-preview1'
    export CARGO_TARGET_WASM32_WASIP1_RUNNER="$node $PWD/tests/other_cpus/wasi.mjs"
    # This compiler is not a nightly one, and -Z is for those.
    export RUSTC_BOOTSTRAP=1
    args=(--target wasm32-wasip1 -Z build-std=std,panic_abort,test --no-default-features --features std)
    skip any_number_of_threads 'there are no threads'
    skip any_number_of_threads_where_the_order_shows 'there are no threads'
    skip every_call_on_threads 'there are no threads'
    skip bits_depend_on_neither_budget_nor_threads 'there are no threads'
    skip half_precision_is_widened 'there are no threads'
    skip softlane_backend_forces_each_backend 'there are no processes'
    skip softlane_backend_refuses_other_names 'there are no processes'
    skip softlane_require_can_fail 'there are no processes'
    skip inlined_by_default "$no_assembly"
    skip inlined_without_std "$no_assembly"
    step 'wasm: tests compiled' cargo test "${args[@]}" --tests --no-run
    step 'wasm: backends' backends wasm 'scalar, portable' "${args[@]}"
    step 'wasm: tests' suite wasm "${args[@]}"
)

[[ $(uname -sm) == 'Linux x86_64' ]] || fail "for x86-64 and Linux, not $(uname -sm)"
command -v cargo >/dev/null || packages cargo-web rustc-web
processors=("$@")
((${#processors[@]})) || processors=(haswell nehalem neon wasm)
for processor in "${processors[@]}"; do
    [[ $processor == @(haswell|nehalem|neon|wasm) ]] || fail "unknown: $processor"
done
for processor in "${processors[@]}"; do
    "$processor"
done
printf '\nother_cpus: passed on %s in %d s\n' "${processors[*]}" "$SECONDS"
