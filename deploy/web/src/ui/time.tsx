import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";

const FORMAT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** A time of the server in the person's own form and time zone. */
export function Time({ value }: { value: Timestamp | undefined }) {
  if (!value) {
    return <>–</>;
  }
  const date = timestampDate(value);
  return <time dateTime={date.toISOString()}>{FORMAT.format(date)}</time>;
}
