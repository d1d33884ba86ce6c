/**
 * gRPC credentials: mTLS of version 1.3 at least on both ends of a gRPC connection, and a word about each peer that this member did
 * not believe when it called: grpc-js tells only that a connection failed. Owns no identity rules (tls.ts).
 */
import { createSecureContext } from "node:tls";
import { ChannelCredentials, ServerCredentials } from "@grpc/grpc-js";
import { describeHandshake, judgeHandshake, type RefusalReason } from "./refusals.ts";
import { checkIs, HANDSHAKE_MS_MAX, TLS_FLOOR, type TlsMaterial } from "./tls.ts";
import type { TransportPeer } from "./transport.ts";

type Connector = ReturnType<ChannelCredentials["_createSecureConnector"]>;

/** Of whoever calls a member. */
export class PeerCredentials extends ChannelCredentials {
  readonly #inner: ChannelCredentials;
  readonly #onRefused: (reason: RefusalReason, why: string) => void;

  /** `onRefused`: who answered at the peer's address is not it. `founders`: as isOfAnother() of tls.ts. */
  constructor(
    peer: TransportPeer,
    { ca, cert, key }: TlsMaterial,
    onRefused: (reason: RefusalReason, why: string) => void,
    founders?: readonly number[],
  ) {
    super();
    const context = createSecureContext({ ca, cert, key, ...TLS_FLOOR });
    this.#inner = ChannelCredentials.createFromSecureContext(context, {
      checkServerIdentity: checkIs(peer, founders),
    });
    this.#onRefused = onRefused;
  }

  override _isSecure(): boolean {
    return true;
  }

  override _equals(other: ChannelCredentials): boolean {
    return other === this;
  }

  override _createSecureConnector(
    ...args: Parameters<ChannelCredentials["_createSecureConnector"]>
  ): Connector {
    const connector = this.#inner._createSecureConnector(...args);
    return {
      connect: (socket) =>
        connector.connect(socket).catch((error: Error) => {
          const reason = judgeHandshake({ error });
          if (reason !== undefined) this.#onRefused(reason, describeHandshake({ error }));
          throw error;
        }),
      waitForReady: () => connector.waitForReady(),
      getCallCredentials: () => connector.getCallCredentials(),
      destroy: () => connector.destroy(),
    };
  }
}

/** Of a member that is called. */
export class MemberCredentials extends ServerCredentials {
  constructor({ ca, cert, key }: TlsMaterial) {
    super(
      { requestCert: true, rejectUnauthorized: true, handshakeTimeout: HANDSHAKE_MS_MAX },
      { ca, cert, key, ...TLS_FLOOR },
    );
  }

  override _equals(other: ServerCredentials): boolean {
    return other === this;
  }
}
