/**
 * Differences: where the engine and the kernel's conntrack judge a packet differently on purpose. docs/conntrack-differences.md
 * gives each one's reason. What fits none of them is a defect of one of the two.
 *
 * A class is told from the packet, from what the engine's tracker knew before it, and from the history of the sequence; those that
 * only exist because the two trackers think the connection in another state ask for the kernel's state too.
 */
import type { Disagreement } from "./compare.ts";
import type { SideLook } from "./engine-firewall.ts";
import type { Side, Step, TcpStep } from "./steps.ts";

const FIN = 1;
const SYN = 2;
const RST = 4;
const ACK = 16;
const ACK_SPAN_MIN = 66_000;
const CLOSING = ["fin_wait", "close_wait", "last_ack", "time_wait", "closed"];

/** A disagreement as the classes look at it. */
interface Case {
  readonly step: Step;
  readonly steps: readonly Step[];
  /** What the engine called each packet. */
  readonly verdicts: readonly string[];
  readonly verdict: string;
  readonly isPassedByKernel: boolean;
}

interface TcpCase extends Case {
  readonly step: TcpStep;
  /** What the engine let go before; and all. */
  readonly earlier: readonly TcpStep[];
  readonly all: readonly TcpStep[];
  readonly state: string;
  readonly isNoted: boolean;
  readonly opener: Side;
  /** Of the end that sends, and of the other one. */
  readonly own: SideLook;
  readonly peer: SideLook;
  /** Of the kernel: "SYN_SENT2"; empty when it knows nothing, "?" when nobody looked. */
  readonly kernelState: string;
}

interface Difference {
  readonly name: string;
  holds(found: Case): boolean;
}

const UNSEEN: SideLook = { isSeen: false, end: 0, limit: 0, max: 0, ack: 0 };

const has = ({ flags }: TcpStep, flag: number): boolean => (flags & flag) !== 0;
const isSyn = (step: TcpStep): boolean => has(step, SYN) && !has(step, ACK);
const ahead = (a: number, b: number): number => (a - b) | 0;

function endOf(step: TcpStep): number {
  return (step.seq + step.length + (has(step, SYN) ? 1 : 0) + (has(step, FIN) ? 1 : 0)) | 0;
}

/** The highest number that a segment acknowledges. */
function sackOf(step: TcpStep): number {
  return (step.sack ?? []).reduce(
    (highest, [, right]) => (ahead(right, highest) > 0 ? right : highest),
    step.ack,
  );
}

/** I of tcp-window.ts: beyond what the receiver allowed. */
const isBeyond = ({ step, own }: TcpCase): boolean => ahead(step.seq, own.limit) > 0;
/** II: further back than the receiver's window. */
const isBelow = ({ step, own, peer }: TcpCase): boolean => ahead(endOf(step), own.end) < -peer.max;
/** III: acknowledges what was never sent. */
function isAckBeyond({ step, peer }: TcpCase, ack = step.ack): boolean {
  return has(step, ACK) && !(has(step, RST) && step.ack === 0) && ahead(ack, peer.end) > 0;
}

/** IV: acknowledges too little. */
function isAckBelow({ step, own, peer }: TcpCase): boolean {
  return has(step, ACK) && ahead(step.ack, peer.end) < -Math.max(own.max, ACK_SPAN_MIN);
}

/** The highest number that a side may send if the window of a SYN alone does not count. */
function limitWithoutSyn(earlier: readonly TcpStep[], from: Side): number {
  const syns = (["client", "server"] as const).map((side) =>
    earlier.find((step) => step.from === side && has(step, SYN)),
  );
  const scales = syns.map((syn) => syn?.scale);
  const scale = scales.includes(undefined) ? 0 : scales[from === "client" ? 1 : 0]!;
  const own = syns[from === "client" ? 0 : 1];
  return earlier
    .filter((step) => step.from !== from && has(step, ACK) && !has(step, RST))
    .map((step) => (step.ack + Math.max(1, has(step, SYN) ? step.window : step.window << scale)) | 0)
    .reduce(
      (highest, limit) => (ahead(limit, highest) > 0 ? limit : highest),
      own === undefined ? 0 : endOf(own),
    );
}

/**
 * Whether a segment is in the window by the sequence alone, without the tracker's numbers: where each side is and what the other
 * one allowed it, in a sequence with one handshake and without resets. A tracker with wrong numbers is no difference.
 */
function isPlainlyInWindow({ step, earlier }: TcpCase): boolean {
  const isSimple =
    !earlier.some((other) => has(other, RST)) &&
    (["client", "server"] as const).every((side) => {
      const syns = earlier.filter((other) => other.from === side && has(other, SYN));
      const isFirst = earlier.find((other) => other.from === side) === syns[0];
      return isFirst && syns.length > 0 && syns.every((syn) => syn.seq === syns[0]!.seq && syn.length === 0);
    });
  if (!isSimple || has(step, SYN)) return false;
  const own = earlier.filter((other) => other.from === step.from);
  const peer = earlier.filter((other) => other.from !== step.from);
  const highest = (values: readonly number[]): number => values.reduce((a, b) => (ahead(b, a) > 0 ? b : a));
  const ownEnd = highest(own.map(endOf));
  const peerEnd = highest(peer.map(endOf));
  const limit = limitWithoutSyn(earlier, step.from);
  // Nothing that was sent, and no window that was used, is further back than this.
  const isRecent = ahead(endOf(step), ownEnd) >= 0;
  const isAckRecent = ahead(step.ack, peerEnd) <= 0 && ahead(step.ack, peerEnd) >= -1400;
  return isRecent && isAckRecent && ahead(step.seq, limit) <= 0;
}

/** Whether somebody sent what only the window of a SYN allowed. */
function usedWindowOfSyn(earlier: readonly TcpStep[]): boolean {
  return earlier.some(
    (step, i) => !has(step, SYN) && ahead(step.seq, limitWithoutSyn(earlier.slice(0, i), step.from)) > 0,
  );
}

/** The engine's name of a state of the kernel. */
const STATES: Readonly<Record<string, string>> = {
  SYN_SENT: "syn_sent",
  SYN_SENT2: "syn_received",
  SYN_RECV: "syn_received",
  ESTABLISHED: "established",
  FIN_WAIT: "fin_wait",
  CLOSE_WAIT: "close_wait",
  LAST_ACK: "last_ack",
  TIME_WAIT: "time_wait",
  CLOSE: "closed",
};

const isAnotherState = (state: string, kernelState: string): boolean =>
  kernelState !== "?" && STATES[kernelState] !== state;

/** Whether the client's SYN and an answer came once more after both had been there. */
function isHandshakeTwice(earlier: readonly TcpStep[]): boolean {
  const answer = earlier.findIndex((step) => has(step, SYN) && has(step, ACK));
  const again = earlier.findIndex((step, i) => i > answer && isSyn(step));
  return answer >= 0 && again >= 0 && earlier.slice(again).some((step) => has(step, SYN) && has(step, ACK));
}

/** Whether a side sent SYNs with different numbers. */
function isOpenedAnew(earlier: readonly TcpStep[]): boolean {
  const syns = earlier.filter(isSyn);
  return syns.some((syn, i) =>
    syns.slice(0, i).some((other) => other.from === syn.from && other.seq !== syn.seq),
  );
}

const isTcp = (step: Step): step is TcpStep => step.kind === "tcp";

const isRefused = (verdict: string): boolean => verdict === "out_of_window" || verdict === "invalid_state";

const DIFFERENCES: readonly Difference[] = [
  {
    name: "icmp-dead-types",
    holds: ({ step, verdict, isPassedByKernel }) =>
      isPassedByKernel &&
      verdict === "icmp_unrelated" &&
      step.kind === "error" &&
      (step.type === 4 || step.type === 5),
  },
  // Numbers: both think the connection in the same state, and one of them minds a number that the other does not.
  stricter("reset-of-syn", ({ step, state, verdict }) => {
    return has(step, RST) && state === "syn_sent" && verdict === "out_of_window";
  }),
  stricter("reset-while-closing", ({ step, state, verdict }) => {
    return has(step, RST) && CLOSING.includes(state) && verdict === "out_of_window";
  }),
  stricter("late-answer", ({ step, state, verdict }) => {
    return has(step, SYN) && has(step, ACK) && state !== "absent" && isRefused(verdict);
  }),
  stricter("delayed", (found) => {
    if (found.state === "absent" || found.verdict !== "out_of_window") return false;
    if (isBeyond(found) || isAckBeyond(found)) return false;
    return (isBelow(found) || isAckBelow(found)) && !isPlainlyInWindow(found);
  }),
  stricter("after-fin", ({ step, verdict, own, earlier }) => {
    const isAcked = earlier.some(
      (other) => other.from !== step.from && has(other, ACK) && other.ack === own.end,
    );
    const hasFin = earlier.some((other) => other.from === step.from && has(other, FIN));
    return verdict === "out_of_window" && hasFin && isAcked && ahead(endOf(step), own.end) > 0;
  }),
  stricter("beyond-window", (found) => {
    if (found.state === "absent" || found.verdict !== "out_of_window" || isAckBeyond(found)) return false;
    return isBeyond(found) && !isPlainlyInWindow(found);
  }),
  stricter("numbers-of-late-answer", ({ step, verdict, earlier, opener }) => {
    if (verdict !== "out_of_window" || step.from !== opener) return false;
    const answers = earlier.filter((other) => other.from !== opener && has(other, SYN) && has(other, ACK));
    return answers.slice(1).some(({ ack, window }) => ahead((ack + Math.max(1, window)) | 0, step.seq) >= 0);
  }),
  stricter("numbers-of-resets", (found) => {
    const { step, verdict, earlier } = found;
    const ack = sackOf(step);
    if (verdict !== "out_of_window" || !isAckBeyond(found, ack)) return false;
    return earlier.some(
      (other) => other.from !== step.from && has(other, RST) && ahead(endOf(other), ack) >= 0,
    );
  }),
  stricter("another-simultaneous-syn", ({ step, state, verdict, opener }) => {
    return isSyn(step) && step.from !== opener && state === "syn_received" && verdict === "invalid_state";
  }),
  looser(
    "old-fin",
    ({ step, state, opener }) => has(step, FIN) && state === "syn_sent" && step.from !== opener,
  ),
  looser("lower-syn", ({ step, state, opener, own }) => {
    return isSyn(step) && step.from === opener && state === "syn_sent" && ahead(endOf(step), own.end) < 0;
  }),
  looser("sack-of-one-side", (found) => isAckBeyond(found, sackOf(found.step)) && !isAckBeyond(found)),
  looser("window-of-syn", (found) => {
    const { step, earlier } = found;
    if (has(step, RST) && has(step, ACK) && found.state !== "established") return false;
    return !isBeyond(found) && ahead(step.seq, limitWithoutSyn(earlier, step.from)) > 0;
  }),
  looser("reset-by-opener", ({ step, state, opener, own }) => {
    return has(step, RST) && state === "syn_sent" && step.from === opener && step.seq === own.end;
  }),
  either("reset-before-handshake", (found) => {
    const { step, state } = found;
    return has(step, RST) && state === "syn_received" && !isBeyond(found);
  }),
  looser("reset-after-old-acknowledgement", ({ step, state, earlier, own }) => {
    // The client's last word was an old one, sent again, after a SYN of its had been noted.
    return (
      has(step, RST) &&
      state === "established" &&
      ahead(step.seq, own.end) < 0 &&
      earlier.filter(isSyn).length > 1
    );
  }),
  stricter("reset-with-zero", ({ step, verdict }) => {
    return has(step, RST) && step.seq === 0 && verdict === "out_of_window";
  }),
  either("simultaneous-open", ({ kernelState, earlier }) => {
    const isBoth = (["client", "server"] as const).every((side) =>
      earlier.some((step) => step.from === side && isSyn(step)),
    );
    return kernelState === "SYN_SENT2" || (kernelState !== "?" && isBoth);
  }),
  looser("refused-anew", ({ step, isNoted, opener, peer }) => {
    return has(step, RST) && has(step, ACK) && isNoted && step.from !== opener && step.ack === peer.ack;
  }),
  either("refused-anew", ({ kernelState, earlier }) => {
    const refused = earlier.some(
      (reset, i) =>
        has(reset, RST) && earlier.slice(0, i).some((syn) => isSyn(syn) && endOf(syn) === reset.ack),
    );
    return kernelState === "ESTABLISHED" && refused;
  }),
  stricter(
    "reset-of-noted",
    ({ step, isNoted, opener }) => has(step, RST) && isNoted && step.from === opener,
  ),
  looser("acknowledgement-of-zero", ({ step, peer, earlier }) => {
    const isZero = earlier.some((other) => other.from !== step.from && has(other, ACK) && other.ack === 0);
    return has(step, RST) && peer.ack === 0 && isZero;
  }),
  either("opened-after-reset", ({ state, kernelState, earlier }) => {
    const reset = earlier.findIndex((other) => has(other, RST));
    const isOpenedLater = reset >= 0 && earlier.slice(reset).some(isSyn);
    if (kernelState === "SYN_SENT") return isOpenedLater && state === "syn_received";
    return kernelState === "CLOSE" && state !== "closed" && isOpenedLater;
  }),
  looser("numbers-of-resets", ({ state, kernelState }) => state === "closed" && kernelState === "CLOSE"),
  either("forgotten-after-reset", ({ state, kernelState, earlier }) => {
    return state === "closed" && kernelState === "" && earlier.some((other) => has(other, RST));
  }),
  either("reset-at-the-end", ({ state, kernelState, earlier }) => {
    return (
      (state === "closed" || state === "syn_sent") &&
      kernelState !== "?" &&
      isAnotherState(state, kernelState) &&
      earlier.some((other) => has(other, RST))
    );
  }),
  // States: one of them thinks the connection in another state, for a reason that the history shows.
  either("opened-by-other-side", ({ state, kernelState, all, opener }) => {
    const isGone = kernelState !== "?" && (state === "absent") !== (kernelState === "");
    return isGone && all.some((other) => isSyn(other) && (state === "absent" || other.from !== opener));
  }),
  either("opened-by-other-side", ({ step, state, opener }) => {
    return isSyn(step) && step.from !== opener && (state === "closed" || state === "time_wait");
  }),
  stricter("closed-before-answer", ({ state, own, peer, verdict }) => {
    return state === "closed" && !(own.isSeen && peer.isSeen) && verdict === "out_of_window";
  }),
  stricter("numbers-of-refused", (found) => {
    const { step, verdict, all, earlier } = found;
    if (verdict !== "out_of_window" || !isAckBeyond(found)) return false;
    return all.some(
      (other) => other.from !== step.from && !earlier.includes(other) && ahead(endOf(other), step.ack) >= 0,
    );
  }),
  either("challenge-in-last-ack", ({ state, kernelState, earlier }) => {
    return state === "last_ack" && kernelState === "LAST_ACK" && earlier.filter(isSyn).length > 1;
  }),
  stricter("challenge-in-last-ack", ({ step, state, isNoted, opener }) => {
    return state === "last_ack" && isNoted && step.from !== opener && has(step, ACK);
  }),
  either("opened-below", ({ state, kernelState, isNoted, earlier }) => {
    const isClosed = CLOSING.includes(state) || earlier.some((other) => has(other, RST));
    return isNoted && kernelState === "SYN_SENT" && isClosed;
  }),
  looser("duplicate-handshake", ({ state, kernelState, earlier }) => {
    return kernelState === "SYN_RECV" && state !== "absent" && isHandshakeTwice(earlier);
  }),
  stricter("duplicate-handshake", ({ state, kernelState, earlier }) => {
    return kernelState === "SYN_RECV" && state === "established" && isHandshakeTwice(earlier);
  }),
  either("opened-anew", ({ state, kernelState, earlier }) => {
    return kernelState !== "?" && state !== "absent" && (isOpenedAnew(earlier) || isHandshakeTwice(earlier));
  }),
  either("another-answer", ({ kernelState, earlier }) => {
    const answers = earlier.filter((other) => has(other, SYN) && has(other, ACK));
    return kernelState !== "?" && answers.some((answer) => answer.seq !== answers[0]!.seq);
  }),
  looser("numbers-of-refused", ({ kernelState, opener, all, earlier }) => {
    if (kernelState !== "SYN_SENT" && kernelState !== "SYN_RECV") return false;
    return all.some((other) => other.from !== opener && !earlier.includes(other));
  }),
  either("reset-not-exact", ({ state, kernelState, earlier }) => {
    return kernelState === "CLOSE" && state !== "closed" && earlier.some((other) => has(other, RST));
  }),
  either("closing-by-table", ({ state, kernelState }) => {
    const isClosingThere = ["FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT"].includes(kernelState);
    return isClosingThere && CLOSING.includes(state) && isAnotherState(state, kernelState);
  }),
  either("window-of-syn", ({ kernelState, earlier }) => kernelState !== "?" && usedWindowOfSyn(earlier)),
  {
    name: "opened-by-other-side",
    holds: ({ step, verdict, isPassedByKernel, steps }) =>
      step.kind === "error" &&
      isPassedByKernel !== (verdict === "forwarded") &&
      steps[step.about]!.kind === "tcp" &&
      steps.some((other) => other.kind === "tcp" && (has(other, RST) || isSyn(other))),
  },
];

/** A class of TCP segments that the kernel lets go and the engine does not. */
function stricter(name: string, holds: (found: TcpCase) => boolean): Difference {
  return tcp(name, (found) => found.isPassedByKernel && holds(found));
}

/** A class of TCP segments that the engine lets go and the kernel does not. */
function looser(name: string, holds: (found: TcpCase) => boolean): Difference {
  return tcp(name, (found) => !found.isPassedByKernel && holds(found));
}

/** A class of TCP segments, whoever lets them go. */
function either(name: string, holds: (found: TcpCase) => boolean): Difference {
  return tcp(name, holds);
}

function tcp(name: string, holds: (found: TcpCase) => boolean): Difference {
  return { name, holds: (found) => found.step.kind === "tcp" && holds(found as TcpCase) };
}

/** Names of all classes; docs/conntrack-differences.md explains each. */
export const DIFFERENCE_NAMES: readonly string[] = [...new Set(DIFFERENCES.map(({ name }) => name))];

/** The name of the class that a disagreement belongs to, or undefined when nothing explains it. */
export function classOf(found: Disagreement): string | undefined {
  const { sequence, at, engine, kernel, look, kernelBefore } = found;
  const step = sequence.steps[at]!;
  const all = sequence.steps.slice(0, at);
  const isByOpener = step.kind === "tcp" && step.from === look?.opener;
  const seen: Case | TcpCase = {
    step,
    steps: sequence.steps,
    verdicts: engine,
    verdict: engine[at]!,
    isPassedByKernel: kernel[at]!,
    earlier: all.filter((_, i) => engine[i] === "forwarded").filter(isTcp),
    all: all.filter(isTcp),
    state: look?.state ?? "absent",
    isNoted: look?.isNoted ?? false,
    opener: look?.opener ?? "client",
    own: (isByOpener ? look?.original : look?.reply) ?? UNSEEN,
    peer: (isByOpener ? look?.reply : look?.original) ?? UNSEEN,
    kernelState: kernelBefore === "?" ? "?" : (/ tcp 6 \d+ (\w+) /.exec(kernelBefore)?.[1] ?? ""),
  };
  return DIFFERENCES.find((difference) => difference.holds(seen))?.name;
}
