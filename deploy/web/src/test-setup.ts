import "@testing-library/jest-dom/vitest";
import { cleanup, configure } from "@testing-library/react";
import { afterEach } from "vitest";

// How long a test waits for what must appear. A busy machine needs more than the default of a second.
configure({ asyncUtilTimeout: 15_000 });

afterEach(cleanup);
