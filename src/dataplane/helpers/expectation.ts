/**
 * Expectation: what a helper asks for, within which limits, and of which kind it is. Owns these words; the rows that come of it
 * are expectations.ts.
 */
import { PROTOCOL_TCP } from "../../packet/ipv4.ts";
import { NONE } from "../flow-layout.ts";
import { TUPLE_WORDS } from "./satellite.ts";

/** Bits of an expectation's kind; those from 32 on are its row's. */
export const TOWARD_SERVER = 1;
/** Holds for any number of flows, until its call ends. */
export const IS_LASTING = 2;
/** What comes is signalling: the rule's helpers look at it too. */
export const IS_SIGNALLING = 4;
/** The destination is no address of the master: nothing is translated but what policy says. */
export const IS_FOREIGN = 8;
/** Media whose offer was answered. */
export const IS_ANSWERED = 16;

export interface ExpectationLimits {
  /** In all, on this node. */
  readonly expectationsMax: number;
  readonly ftpPerMaster: number;
  readonly tftpPerMaster: number;
  readonly sipPerMaster: number;
}

export const DEFAULT_EXPECTATION_LIMITS: ExpectationLimits = {
  expectationsMax: 16_384,
  ftpPerMaster: 2,
  tftpPerMaster: 2,
  // A call has four, more with video: a trunk carries a hundred calls and more in one flow.
  sipPerMaster: 512,
};

/** Counters of expectations; expectationsNow is kept by the flow book, which sees replicas too. */
export interface ExpectationCounters {
  now(): number;
  created(): void;
  used(): void;
  expired(): void;
  refused(): void;
}

/** What expect() is asked for; filled by the helper, one instance. */
export class ExpectationRequest {
  master = NONE;
  protocol = PROTOCOL_TCP;
  /** Kind bits. */
  kind = 0;
  /** Source at 0, destination at 4, as the expected packet will carry them. */
  readonly words = new Int32Array(TUPLE_WORDS);
  /** As the expected packet will carry it. */
  port = 0;
  /** TCP: where the connection will most likely come from, so that an old one is not met; 0: nobody knows. */
  likelySourcePort = 0;
  /** Where the master's end listens. */
  realPort = 0;
  lifeMs = 0;
  /** What belongs together and ends together; 0: nothing. */
  call = 0;
  /** Number of the media stream, and whether this is its control (RTCP). */
  stream = 0;
  isControl = false;
  perMasterMax = 0;
  /** When the master has its fill, the one that would end first goes. */
  isReplacing = false;
}
