// What connect uses of @bufbuild/protobuf in the built pages, which call with binary messages alone: see vite.config.ts.

function refuse(): never {
  throw new Error("the pages call with binary messages alone");
}

export { fromBinary, toBinary } from "@bufbuild/protobuf";
export { refuse as fromJsonString, refuse as toJsonString };
