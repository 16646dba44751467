/** What tests/suite/web/browser has started for the specs. */
export const environment = {
  /** The origin of the pages. */
  pages: required("HAVEN_PAGES"),
  /** The origins of the services. */
  identity: required("HAVEN_IDENTITY"),
  data: required("HAVEN_DATA"),
  /** The port of the control of the stack. */
  control: Number(required("HAVEN_CONTROL")),
  /** The home directory of the browser. */
  home: required("HAVEN_HOME"),
  /** Debian's Chromium. */
  chromium: process.env.CHROMIUM ?? "/usr/bin/chromium",
};

function required(name: string): string {
  const value = process.env[name];
  if (!value) {
    throw new Error(`${name} is not set: the specs run with the services, by deploy/web/check`);
  }
  return value;
}
