// Keeps a stream connected: one WhipResource after the other until it is stopped or cannot go on.

import { asProblem, Problem, problemOfMedia } from "./errors.js";
import { WhipResource } from "./whip.js";

/** ICE often heals by itself within this time, so a short break costs no new connection. */
const DISCONNECTED_LIMIT_MS = 5_000;
const NOT_READY_LIMIT_MS = 15_000;
const NOT_READY_PAUSE_MS = 700;
const RECOVERY_PAUSES_MS = [0, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000, 10_000];
const RETRY_AFTER_MOST_MS = 30_000;

/**
 * Events: "state" when `state` changed, "peer" when `peer` is a new RTCPeerConnection about to be negotiated,
 * "end" when the connection gave up (`problem` says why). Nothing follows after "end" or `stop()`.
 * States: connecting, connected, unsteady (short break), reconnecting, closed.
 */
export class Connection extends EventTarget {
    state = "connecting";
    problem = null;
    attempt = 0;
    #target;
    #makePeer;
    #resource = null;
    #aborter = new AbortController();
    #timer = null;

    /** `target` as for WhipResource; `makePeer` returns a peer connection with its transceivers. */
    constructor(target, makePeer) {
        super();
        this.#target = target;
        this.#makePeer = makePeer;
    }

    get peer() {
        return this.#resource?.peer ?? null;
    }

    async start() {
        const end = performance.now() + NOT_READY_LIMIT_MS;
        for (;;) {
            try {
                return await this.#establish();
            } catch (error) {
                if (this.#isOver) return;
                if (!error.notReady || performance.now() > end) return this.#give(error);
                await this.#pause(error.retryAfterMs ?? NOT_READY_PAUSE_MS);
                if (this.#isOver) return;
            }
        }
    }

    /** Ends at once for the user; resolves when the server was told. */
    async stop() {
        this.#finish();
        await this.#resource?.close();
    }

    /** The page goes away. */
    abandon() {
        this.#finish();
        this.#resource?.abandon();
    }

    get #isOver() {
        return this.#aborter.signal.aborted;
    }

    #finish() {
        clearTimeout(this.#timer);
        this.#aborter.abort();
        this.state = "closed";
    }

    #give(error) {
        this.problem = asProblem(error);
        void this.stop();
        this.dispatchEvent(new Event("end"));
    }

    #become(state) {
        if (this.state === state || this.#isOver) return;
        this.state = state;
        this.dispatchEvent(new Event("state"));
    }

    async #establish() {
        const pc = this.#makePeer();
        const resource = new WhipResource(pc, this.#target);
        this.#resource = resource;
        this.dispatchEvent(new Event("peer"));
        try {
            await resource.open(this.#aborter.signal);
        } catch (error) {
            await resource.close();
            throw error;
        }
        pc.addEventListener("connectionstatechange", () => this.#watch(pc));
        this.#become("connected");
        this.#watch(pc);
    }

    #watch(pc) {
        if (pc !== this.peer || this.#isOver || this.state === "reconnecting") return;
        clearTimeout(this.#timer);
        if (pc.connectionState === "connected") {
            this.#become("connected");
        } else if (pc.connectionState === "disconnected") {
            this.#become("unsteady");
            this.#timer = setTimeout(() => this.#recover(), DISCONNECTED_LIMIT_MS);
        } else if (pc.connectionState === "failed" || pc.connectionState === "closed") {
            void this.#recover();
        }
    }

    /** A new POST replaces the lost connection: the server frees the name with the DELETE before it. */
    async #recover() {
        if (this.#isOver || this.state === "reconnecting") return;
        this.#become("reconnecting");
        let last = problemOfMedia(true);
        for (const [index, pause] of RECOVERY_PAUSES_MS.entries()) {
            this.attempt = index + 1;
            await this.#resource?.close();
            await this.#pause(Math.max(pause, last.retryAfterMs ?? 0));
            if (this.#isOver) return;
            try {
                return await this.#establish();
            } catch (error) {
                if (this.#isOver) return;
                last = error;
                // The name may stay taken until the server itself has noticed that our old connection is gone.
                const worthRepeating = error instanceof Problem && (error.transient || error.status === 409);
                if (!worthRepeating) break;
            }
        }
        this.#give(last);
    }

    #pause(ms) {
        const signal = this.#aborter.signal;
        return new Promise(resolve => {
            if (signal.aborted) return resolve();
            const timer = setTimeout(resolve, Math.min(ms, RETRY_AFTER_MOST_MS));
            signal.addEventListener("abort", () => {
                clearTimeout(timer);
                resolve();
            }, { once: true });
        });
    }
}
