/**
 * Traffic of a trial: a few long flows of every kind, each asking for an echo again and again; short ones that come and go; and
 * attempts at what the policy denies. Owns what each flow saw; what nodes did to it is judged by check-wire.ts.
 */
import { clientAddresses, NAT_POOL, SERVER_ADDRESS } from "../../lab/topology.ts";
import { CLOSED_PORT, DENIED, flowOf, marked } from "./check-wire.ts";
import type { SimClock } from "./clock.ts";
import type { SimHosts } from "./hosts.ts";
import type { TcpSocket } from "./tcp.ts";

const CLIENTS = clientAddresses();
const TCP_PORT = 7000;
const UDP_PORT = 7001;
const WEB_PORT = 80;
const PUBLISHED_PORT = 8080;
const FIRST_CLIENT_PORT = 20_000;
const FIRST_VISIT = 1000;
/** From a port of the server itself it would be an answer, and no stranger. */
const FIRST_STRANGE_PORT = 10_000;
const STRANGE_PORTS = 20_000;
/** Short flows that begin in one moment. */
const BURST = 32;
const FINDINGS_MAX = 5;

export interface TrialLoad {
  /** Long flows of each kind: TCP and UDP from inside; half as many TCP to the published server. */
  readonly flows: number;
  readonly askIntervalMs: number;
  readonly visitIntervalMs: number;
  readonly deniedIntervalMs: number;
}

export interface TrialFlow {
  readonly number: number;
  readonly what: string;
  /** Sends one more. */
  readonly ask: () => void;
  echoes: number;
  lastEchoMs: number;
  /** Where the other end sees it come from; "" where nothing shows it. */
  seenAs: string;
  /** Why it is no more, or is not what it was. */
  broken: string;
}

export class TrialTraffic {
  readonly flows: TrialFlow[] = [];
  readonly findings: string[] = [];
  /** Short flows: tried, and answered. */
  visits = 0;
  answers = 0;
  denied = 0;
  readonly #clock: SimClock;
  readonly #hosts: SimHosts;
  readonly #random: (bound: number) => number;
  readonly #load: TrialLoad;
  readonly #visited = new Map<number, string>();
  #isOn = true;
  #sequence = 0;

  constructor(clock: SimClock, hosts: SimHosts, random: (bound: number) => number, load: TrialLoad) {
    this.#clock = clock;
    this.#hosts = hosts;
    this.#random = random;
    this.#load = load;
  }

  begin(): void {
    const { flows, askIntervalMs, visitIntervalMs, deniedIntervalMs } = this.#load;
    this.#serve();
    for (let i = 0; i < flows; i++) {
      this.#openTcp(this.#client());
      this.#openUdp(this.#client());
      if (i % 2 === 0) this.#openPublished();
    }
    for (const flow of this.flows) this.#every(askIntervalMs, flow.ask);
    this.#every(visitIntervalMs, () => this.#visit());
    this.#every(deniedIntervalMs, () => this.#tryDenied());
  }

  /** One more long flow, from inside. */
  open(): void {
    if (this.#random(2) === 0) this.#openTcp(this.#client());
    else this.#openUdp(this.#client());
    const flow = this.flows.at(-1)!;
    flow.ask();
    this.#every(this.#load.askIntervalMs, flow.ask);
  }

  /** Many flows at once, more than a few of them long. */
  burst(): void {
    for (let i = 0; i < BURST; i++) this.#visit();
    for (let i = 0; i < BURST / 4; i++) this.open();
  }

  /** Asks for nothing more. */
  quiet(): void {
    this.#isOn = false;
  }

  /** Flows that stand: asked and answered, unbroken. */
  established(): TrialFlow[] {
    return this.flows.filter(({ echoes, broken }) => echoes > 0 && broken === "");
  }

  // ---------------------------------------------------------------- servers

  #serve(): void {
    const { server, web } = this.#hosts;
    const echo = (socket: TcpSocket): void => {
      socket.on("data", (bytes) => socket.write(bytes));
      socket.on("error", () => undefined);
    };
    server.listen(TCP_PORT, echo);
    web.listen(WEB_PORT, echo);
    server.bind(SERVER_ADDRESS, UDP_PORT, (payload, from) => {
      const number = flowOf(payload);
      const flow = this.flows.find((each) => each.number === number);
      const seenAs = `${from.address}:${from.port}`;
      if (flow !== undefined && flow.seenAs === "") flow.seenAs = seenAs;
      if (flow !== undefined && flow.seenAs !== seenAs) {
        flow.broken ||= `is now ${seenAs}, was ${flow.seenAs}`;
      }
      server.sendDatagram({ address: SERVER_ADDRESS, port: UDP_PORT }, from, Buffer.from(payload));
    });
  }

  // ---------------------------------------------------------------- long flows

  #openTcp(client: string): void {
    const socket = this.#hosts.client.connect({ host: SERVER_ADDRESS, port: TCP_PORT, localAddress: client });
    this.#addTcp(`TCP from ${client}`, socket);
  }

  #openPublished(): void {
    const target = { host: NAT_POOL[0], port: PUBLISHED_PORT, localAddress: SERVER_ADDRESS };
    this.#addTcp("TCP to the published server", this.#hosts.server.connect(target));
  }

  #addTcp(what: string, socket: TcpSocket): void {
    let isOpen = false;
    const flow = this.#addFlow(what, (number) => {
      // What waits for its acknowledgement is repeated by itself.
      if (isOpen && socket.waitingBytes === 0) socket.write(marked(number, this.#sequence++));
    });
    socket.on("connect", () => {
      isOpen = true;
    });
    socket.on("data", (bytes) => this.#heard(flow, bytes));
    socket.on("error", (error) => {
      flow.broken ||= error.code ?? error.message;
    });
    socket.on("close", () => {
      flow.broken ||= "closed";
    });
  }

  #openUdp(address: string): void {
    const { client } = this.#hosts;
    const own = { address, port: FIRST_CLIENT_PORT + this.flows.length };
    const flow = this.#addFlow(`UDP from ${address}:${own.port}`, (number) => {
      const payload = marked(number, this.#sequence++);
      client.sendDatagram(own, { address: SERVER_ADDRESS, port: UDP_PORT }, payload);
    });
    client.bind(address, own.port, (payload) => this.#heard(flow, payload));
  }

  #addFlow(what: string, ask: (number: number) => void): TrialFlow {
    const number = this.flows.length + 1;
    const flow: TrialFlow = {
      number,
      what,
      ask: () => ask(number),
      echoes: 0,
      lastEchoMs: Number.NEGATIVE_INFINITY,
      seenAs: "",
      broken: "",
    };
    this.flows.push(flow);
    return flow;
  }

  #heard(flow: TrialFlow, bytes: Uint8Array): void {
    const number = flowOf(bytes);
    if (number !== flow.number) {
      this.#find(`${flow.what} (flow ${flow.number}) got an answer to flow ${number}`);
      return;
    }
    flow.echoes++;
    flow.lastEchoMs = this.#clock.nowMs();
  }

  // ---------------------------------------------------------------- the others

  /** One question from a port of its own. */
  #visit(): void {
    const { client } = this.#hosts;
    const number = FIRST_VISIT + this.visits++;
    const own = { address: this.#client(), port: FIRST_CLIENT_PORT + number };
    client.bind(own.address, own.port, (payload) => {
      if (flowOf(payload) !== number) {
        this.#find(`visit ${number} got an answer to flow ${flowOf(payload)}`);
      } else if (!this.#visited.has(number)) {
        this.#visited.set(number, own.address);
        this.answers++;
      }
    });
    client.sendDatagram(own, { address: SERVER_ADDRESS, port: UDP_PORT }, marked(number, 0));
  }

  /** From outside: scans, and a stranger at ports that are given out. From inside: the closed port. */
  #tryDenied(): void {
    const { client, server } = this.#hosts;
    this.denied++;
    const fromPort = FIRST_STRANGE_PORT + this.#random(STRANGE_PORTS);
    const stranger = { address: SERVER_ADDRESS, port: fromPort };
    const payload = marked(DENIED, this.denied);
    const pool = NAT_POOL[this.#random(NAT_POOL.length)]!;
    const port = 1 + this.#random(PUBLISHED_PORT - 1);
    server.sendSyn(SERVER_ADDRESS, { address: this.#client(), port }, fromPort);
    server.sendSyn(SERVER_ADDRESS, { address: pool, port }, fromPort);
    const known = this.flows.filter(({ seenAs }) => seenAs !== "");
    const victim = known[this.#random(Math.max(1, known.length))];
    if (victim !== undefined) {
      const [address, givenOut] = victim.seenAs.split(":") as [string, string];
      server.sendDatagram(stranger, { address, port: Number(givenOut) }, payload);
    }
    const from = { address: this.#client(), port: FIRST_CLIENT_PORT };
    client.sendDatagram(from, { address: SERVER_ADDRESS, port: CLOSED_PORT }, payload);
    client.sendSyn(from.address, { address: SERVER_ADDRESS, port: CLOSED_PORT }, fromPort);
  }

  #client(): string {
    return CLIENTS[this.#random(CLIENTS.length)]!;
  }

  #every(ms: number, callback: () => void): void {
    const turn = (): void => {
      if (!this.#isOn) return;
      callback();
      this.#clock.wire(ms, turn);
    };
    this.#clock.wire((ms * this.#random(1024)) / 1024, turn);
  }

  #find(what: string): void {
    if (this.findings.length < FINDINGS_MAX) this.findings.push(what);
  }
}
