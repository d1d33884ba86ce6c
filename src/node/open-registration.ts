/** Opens registration on a member that has the CA's key. Loads it only there: a witness without it has no memory for an X.509 library. */
import { existsSync } from "node:fs";
import type { Registration, RegistrationOptions } from "./registration.ts";

/** Undefined where the CA's key is not. Throws SW_TLS_INVALID, SW_PORT_TAKEN. */
export async function openRegistration(options: RegistrationOptions): Promise<Registration | undefined> {
  const { caKey } = options.config.cluster;
  if (caKey === undefined || !existsSync(caKey)) return undefined;
  const { Registration } = await import("./registration.ts");
  const registration = new Registration(options);
  await registration.listen();
  return registration;
}
