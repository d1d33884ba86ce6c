import { execFileSync } from "node:child_process";
import { afterAll, expect, test } from "vitest";
import { CertificateFolder } from "./certificates.ts";

const folder = new CertificateFolder();
afterAll(() => folder.remove());

test("a process that judged its certificates before it loaded HTTP/2 can serve TLS", () => {
  const files = JSON.stringify(folder.member("fw1"));
  const story = `
    const { loadTls } = await import("./cluster/transport/tls.ts");
    const { ca, cert, key } = loadTls(${files}, "fw1");
    const { createSecureServer } = await import("node:http2");
    createSecureServer({ ca, cert, key });
    console.log("served");`;
  const args = ["--import", "tsx", "--input-type=module", "--eval", story];
  expect(execFileSync(process.execPath, args, { encoding: "utf8" })).toBe("served\n");
});
