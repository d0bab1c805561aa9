#!/usr/bin/env bash
# Builds the C library and installs it, static and shared, with the header and a pkg-config file: `capi/install.sh /usr/local`. With DESTDIR, under
# that directory, for packages. What is there already is replaced.
set -euo pipefail

if (($# != 1)) || [[ $1 != /* ]]; then
    echo "usage: $0 /PREFIX" >&2
    exit 2
fi
prefix=$1
root=${DESTDIR:-}$prefix
cd "$(dirname "$0")"

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
flags=(--print native-static-libs)
if [[ $(uname) == Linux ]]; then
    # Before 1.0, a minor version may break callers.
    name=libsoftlane.so.${version%.*}
    flags+=(-C "link-arg=-Wl,-soname,$name")
fi
notes=$(mktemp)
trap 'rm -f "$notes"' EXIT
echo "building softlane $version"
# Cargo names what it has made; the compiler notes what programs need beside the static library.
made=$(cargo rustc --release --lib --message-format=json-render-diagnostics -- "${flags[@]}" \
    2>"$notes") || {
    cat "$notes" >&2
    exit 1
}
private=$(sed -n 's/^.*native-static-libs: //p' "$notes" | head -n 1)

file() {
    local path
    path=$(grep -o "\"[^\"]*/libsoftlane\\.$1\"" <<<"$made" | tail -n 1) || return 1
    path=${path#\"}
    printf '%s\n' "${path%\"}"
}

install -d "$root/include" "$root/lib/pkgconfig"
install -m 644 include/softlane.h "$root/include"
install -m 644 "$(file a)" "$root/lib"
if [[ $(uname) == Linux ]]; then
    install -m 755 "$(file so)" "$root/lib/libsoftlane.so.$version"
    ln -sf "libsoftlane.so.$version" "$root/lib/$name"
    ln -sf "$name" "$root/lib/libsoftlane.so"
else
    install -m 755 "$(file dylib)" "$root/lib"
fi
sed -e "s|@prefix@|$prefix|" -e "s|@version@|$version|" -e "s|@private@|$private|" \
    softlane.pc.in >"$root/lib/pkgconfig/softlane.pc"
chmod 644 "$root/lib/pkgconfig/softlane.pc"
echo "softlane $version is in $root"
