import { randomBytes, randomUUID } from "node:crypto";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { createClient, type Interceptor, type Transport } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { failureOf } from "../src/api/failure";
import { LEAST_KEY_DERIVATION } from "../src/envelope";
import { EncryptionAlgorithm } from "../src/gen/haven/data/v1/envelope_pb";
import { DeviceType, ShareService } from "../src/gen/haven/data/v1/share_pb";
import { SessionService } from "../src/gen/haven/identity/v1/session_pb";
import { environment } from "./harness/environment";
import type { Haven } from "./harness/haven";
import { checkPage, expect, type Page, test } from "./harness/test";

const CONTENT = "Cycles since March: 28, 31, 27.";

const openButton = (page: Page) => page.getByRole("button", { name: "Open the share" });
const cancelButton = (page: Page) => page.getByRole("button", { name: "Cancel" });

/** Holds the requests whose URL has `part`, until the function that is returned is called. */
async function hold(page: Page, part: string): Promise<() => void> {
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  await page.route(
    (url) => url.pathname.includes(part),
    async (route) => {
      await released;
      // The page may have ended the request.
      await route.continue().catch(() => {});
    },
  );
  return release;
}

test("the page says that it loads what decrypts, and this can be cancelled without an opening", async ({
  page,
  haven,
}) => {
  const share = await haven.share({ content: CONTENT, maxAccessCount: 1 });
  const release = await hold(page, "/assets/decryption-worker");
  await page.goto(share.link);
  await openButton(page).click();
  await expect(page.getByRole("status").filter({ hasText: "Loading what decrypts" })).toBeVisible();
  await checkPage(page, "share-preparing");
  await cancelButton(page).click();
  await expect(openButton(page)).toBeFocused();
  release();
  await openButton(page).click();
  await expect(page.getByText(CONTENT)).toBeVisible();
});

test("the page says that it asks the service", async ({ page, haven }) => {
  const share = await haven.share({ content: CONTENT });
  const release = await hold(page, "/haven.data.v1.ShareService/OpenShare");
  await page.goto(share.link);
  await openButton(page).click();
  await expect(page.getByText("Asking the service for the share…")).toBeVisible();
  await expect(openButton(page)).toBeDisabled();
  await checkPage(page, "share-opening");
  release();
  await expect(page.getByText(CONTENT)).toBeVisible();
});

test("the page says that it decrypts, and this can be cancelled", async ({ page, haven }) => {
  await page.goto(await costlyShare(haven, { memoryKib: 262_144, iterations: 64 }));
  await openButton(page).click();
  await expect(page.getByText("Decrypting the content on this device.")).toBeVisible();
  await checkPage(page, "share-decrypting");
  await cancelButton(page).click();
  await expect(page.getByText("The share is closed.")).toBeVisible();
});

test("a share that needs more memory than the page takes is refused with the reason", async ({ page, haven }) => {
  await page.goto(await costlyShare(haven, { memoryKib: 262_145, iterations: 2 }));
  await openButton(page).click();
  await expect(page.getByRole("alert")).toContainText("needs more memory than this page takes");
  await expect(page.getByRole("button", { name: "Try to decrypt again" })).toHaveCount(0);
  await checkPage(page, "share-memory-limit");
});

test("an attempt at a time of too many is said not to count, and the button waits", async ({ page, haven }) => {
  const flooded = await haven.share({ content: "another", passcode: "harbour seven" });
  const share = await haven.share({ content: CONTENT, passcode: "harbour eight" });
  const shares = createClient(ShareService, transport(environment.data));
  // More than the places that the callers of one network have for passcodes.
  let floods = true;
  let refusals = 0;
  const callers = Array.from({ length: 80 }, async () => {
    while (floods) {
      const call = { token: flooded.token, passcode: "harbour nine", deviceType: DeviceType.DESKTOP };
      await shares.openShare(call).catch((error) => {
        refusals += failureOf(error).reason === "TOO_MANY_CALLS" ? 1 : 0;
      });
    }
  });
  const busy = page.getByRole("group", { name: "There are too many attempts at the moment. This one did not count." });
  try {
    await expect(() => expect(refusals).toBeGreaterThan(100)).toPass();
    // A place may be free at the moment of the click.
    await expect(async () => {
      await page.goto(share.link);
      await page.getByLabel("Passcode").fill("harbour eight");
      await openButton(page).click();
      await expect(busy.or(page.getByText(CONTENT))).toBeVisible();
      await expect(busy).toBeFocused({ timeout: 100 });
    }).toPass();
  } finally {
    floods = false;
    await Promise.all(callers);
  }
  await checkPage(page, "share-busy");
  await page.getByRole("button", { name: "Try again" }).click();
  await expect(page.getByText(CONTENT)).toBeVisible();
});

/** Makes a share the key of which costs as much as is stated, and returns its link. Its content is no ciphertext. */
async function costlyShare(haven: Haven, cost: { memoryKib: number; iterations: number }): Promise<string> {
  const { person } = await haven.share({ content: CONTENT });
  const sessions = createClient(SessionService, transport(environment.identity));
  const { accessToken } = await sessions.signIn({
    email: person.email,
    password: person.password,
    requestId: randomUUID(),
  });
  const shares = createClient(ShareService, transport(environment.data));
  const keyId = randomUUID();
  const { token } = await shares.createShare(
    {
      encryptedShareData: randomBytes(64),
      cryptoEnvelope: {
        envelopeVersion: 1,
        algorithm: EncryptionAlgorithm.XCHACHA20_POLY1305,
        keyId,
        keyVersion: 1,
        nonce: randomBytes(24),
        salt: randomBytes(16),
        keyDerivation: { ...LEAST_KEY_DERIVATION, ...cost },
        associatedDataVersion: 1,
      },
      expireTime: timestampFromDate(new Date(Date.now() + 3_600_000)),
      maxAccessCount: 1,
      requestId: randomUUID(),
    },
    { headers: { authorization: `Bearer ${accessToken}` } },
  );
  return `/share#${haven.secret(token)}.${haven.secret(randomBytes(32).toString("base64url"))}`;
}

/** Calls of this process, which state the origin of the pages as a browser does: without it, gRPC-Web is not served. */
function transport(baseUrl: string): Transport {
  const state: Interceptor = (next) => (request) => {
    request.header.set("origin", environment.pages);
    return next(request);
  };
  return createGrpcWebTransport({ baseUrl, defaultTimeoutMs: 15_000, interceptors: [state] });
}
