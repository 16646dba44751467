import { expect, test, vi } from "vitest";
import { DeviceType } from "../gen/haven/data/v1/share_pb";
import { deviceType } from "./device-type";

test.each([
  [
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    0,
    DeviceType.DESKTOP,
  ],
  ["Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0", 10, DeviceType.DESKTOP],
  [
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15",
    0,
    DeviceType.DESKTOP,
  ],
  [
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15",
    5,
    DeviceType.MOBILE,
  ],
  [
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148 Safari/604.1",
    5,
    DeviceType.MOBILE,
  ],
  [
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36",
    5,
    DeviceType.MOBILE,
  ],
])("%s", (userAgent, maxTouchPoints, expected) => {
  vi.stubGlobal("navigator", { userAgent, maxTouchPoints });
  expect(deviceType()).toBe(expected);
  vi.unstubAllGlobals();
});
