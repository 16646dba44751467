#!/usr/bin/env bash
# protoc before version 22 reads a standard option that is newer than itself in one file, and rejects it in another: only a file
# that imports descriptor.proto is checked against the descriptor.proto on the import path.
#
# Expected: a newer google/protobuf/descriptor.proto on the import path either gives protoc the options that it declares, such as
# debug_redact of version 22, or does not, for all files alike.
#
# What happens: with grpcio-tools 1.51.1 (protoc 3.21.6) and the descriptor.proto of grpcio-tools 1.56.2 (protoc 23) on the
# import path, a file with [debug_redact = true] and without the import fails: 'Option "debug_redact" unknown'. The same file with
# an import of descriptor.proto, which it does not need otherwise, compiles. So does a file that imports it through another.
# grpcio-tools 1.56.2 compiles all three.
set -euo pipefail

readonly OLD=1.51.1
readonly NEW=1.56.2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for version in "$OLD" "$NEW"; do
    python3 -m venv "$work/$version"
    "$work/$version/bin/pip" install --quiet --disable-pip-version-check "grpcio-tools==$version" "setuptools==69.5.1"
done

mkdir "$work/protos"
cat >"$work/protos/between.proto" <<'P'
syntax = "proto3";
import "google/protobuf/descriptor.proto";
extend google.protobuf.MethodOptions { bool between = 50000; }
P
write() {
    printf 'syntax = "proto3";\npackage p;\n%s\nmessage M { string s = 1 [debug_redact = true]; }\n' "$2" >"$work/protos/$1.proto"
}
write alone ''
write direct 'import "google/protobuf/descriptor.proto";'
write through 'import "between.proto";'

include=$(echo "$work/$NEW"/lib/python3*/site-packages/grpc_tools/_proto)
compile() {
    "$work/$1/bin/python" -W ignore -m grpc_tools.protoc -I "$include" -I "$work/protos" --python_out="$work" "$2.proto" \
        >"$work/output" 2>&1
}

found=""
for version in "$OLD" "$NEW"; do
    "$work/$version/bin/python" -W ignore -m grpc_tools.protoc --version
    for file in alone direct through; do
        outcome=compiles
        compile "$version" "$file" || outcome=rejected
        echo "grpcio-tools $version: $file.proto $outcome"
        grep -v '^$' "$work/output" | grep -i 'unknown' || true
        found+=" $outcome"
    done
done
[ "$found" = " rejected compiles compiles compiles compiles compiles" ] || { echo "changed:$found" >&2; exit 1; }
