/**
 * This build, as the target of an upgrade: what it is called and what it speaks. The command that upgrades is of the new build.
 */
import { STATE_VERSION } from "../../../cluster/control/codec.ts";
import { ENVELOPE_VERSION } from "../../../cluster/liveness/envelope.ts";
import { SYNC_PROTOCOL_VERSION } from "../../../cluster/sync/messages.ts";
import { RECORD_FORMATS, type RecordFormat } from "../../../cluster/sync/wire-format.ts";
import { BUILD, VERSION } from "../../../config/version.ts";
import type { Target } from "./preflight.ts";
import type { Speech } from "./speech.ts";

/** What a node of this build speaks; `formats` other than its own are for simulations. */
export function speechOf(formats: readonly RecordFormat[] = RECORD_FORMATS): Speech {
  return {
    recordVersions: formats.map(({ version }) => version),
    syncVersion: SYNC_PROTOCOL_VERSION,
    commandVersion: STATE_VERSION,
    heartbeatVersion: ENVELOPE_VERSION,
  };
}

export function thisBuild(): Target {
  return { version: VERSION, build: BUILD, speech: speechOf() };
}
