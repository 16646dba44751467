import { columnsOf, isObject, type Json, WrittenNumber } from "./json";

/**
 * A JSON value for reading: arrays of objects as tables, other arrays as lists, objects as names and values, each within the other.
 * `path` tells tables apart for screen readers.
 */
export function JsonView({ value, path }: { value: Json; path: string }) {
  if (value === null) {
    return "—";
  }
  if (typeof value === "boolean") {
    return value ? "yes" : "no";
  }
  if (value instanceof WrittenNumber) {
    return value.text;
  }
  if (typeof value === "string") {
    return (
      <span className="string" dir="auto">
        {value}
      </span>
    );
  }
  if (isObject(value)) {
    return <ObjectView value={value} path={path} />;
  }
  const columns = columnsOf(value);
  return columns ? <TableView rows={value} columns={columns} path={path} /> : <ListView values={value} path={path} />;
}

function ObjectView({ value, path }: { value: { [key: string]: Json }; path: string }) {
  const entries = Object.entries(value);
  if (entries.length === 0) {
    return "—";
  }
  return (
    <dl className="json">
      {entries.map(([key, one]) => (
        <div key={key} className="entry">
          <dt dir="auto">{key}</dt>
          <dd>
            <JsonView value={one} path={`${path}, ${key}`} />
          </dd>
        </div>
      ))}
    </dl>
  );
}

function ListView({ values, path }: { values: Json[]; path: string }) {
  if (values.length === 0) {
    return "—";
  }
  return (
    <ul className="json">
      {values.map((value, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the list never changes
        <li key={index}>
          <JsonView value={value} path={`${path}, ${index + 1}`} />
        </li>
      ))}
    </ul>
  );
}

function TableView({ rows, columns, path }: { rows: Json[]; columns: string[]; path: string }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a wide table is scrolled with the keys
    <section className="scroll json" aria-label={`Table: ${path}`} tabIndex={0}>
      <table>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column} scope="col" dir="auto">
                {column}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, index) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: the table never changes
            <tr key={index}>
              {columns.map((column) => (
                <td key={column}>
                  {isObject(row) && Object.hasOwn(row, column) && (
                    <JsonView value={row[column] ?? null} path={`${path}, ${index + 1}, ${column}`} />
                  )}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
