// getStats() of one peer connection as the figures a person looks at; rates come from the difference of two readings.

/** One per peer connection. `sending` tells publisher from player. */
export class Meter {
    #pc;
    #sending;
    #last = null;

    constructor(pc, sending) {
        this.#pc = pc;
        this.#sending = sending;
    }

    /** Times in seconds, rates in bits or frames per second, loss as a fraction; NaN or null when not known. */
    async read() {
        const report = await this.#pc.getStats();
        const wanted = this.#sending ? "outbound-rtp" : "inbound-rtp";
        const streams = {};
        const remote = {};
        let transport = null;
        for (const entry of report.values()) {
            if (entry.type === wanted && !(entry.kind in streams)) streams[entry.kind] = entry;
            else if (entry.type === "remote-inbound-rtp") remote[entry.kind] = entry;
            else if (entry.type === "transport") transport ??= entry;
        }
        const pair = selectedPair(report, transport);
        const now = { video: streams.video, audio: streams.audio, at: performance.now() };
        const before = this.#last;
        this.#last = now;
        const rate = (kind, field) => perSecond(before, now, kind, field);
        const bytes = this.#sending ? "bytesSent" : "bytesReceived";
        const main = streams.video ?? streams.audio;
        const remoteMain = remote.video ?? remote.audio;
        return {
            videoBitrate: rate("video", bytes) * 8,
            audioBitrate: rate("audio", bytes) * 8,
            frameRate: streams.video?.framesPerSecond
                ?? rate("video", this.#sending ? "framesEncoded" : "framesDecoded"),
            width: streams.video?.frameWidth ?? 0,
            height: streams.video?.frameHeight ?? 0,
            videoCodec: codecName(report, streams.video),
            audioCodec: codecName(report, streams.audio),
            loss: this.#sending ? remoteMain?.fractionLost ?? NaN : recentLoss(before, now),
            roundTrip: pair?.currentRoundTripTime ?? remoteMain?.roundTripTime ?? NaN,
            jitter: (this.#sending ? remoteMain : main)?.jitter ?? NaN,
            freezes: streams.video?.freezeCount ?? null,
            frozenSeconds: streams.video?.totalFreezesDuration ?? NaN,
            bufferDelay: bufferDelay(before, now),
            limitation: streams.video?.qualityLimitationReason ?? null,
            nacks: streams.video?.nackCount ?? 0,
            keyFrameRequests: streams.video?.pliCount ?? 0,
            framesDropped: streams.video?.framesDropped ?? 0,
            frames: streams.video?.framesDecoded ?? streams.video?.framesEncoded ?? 0,
            packets: (streams.video?.packetsReceived ?? 0) + (streams.audio?.packetsReceived ?? 0),
            path: pathText(report, pair),
        };
    }
}

function perSecond(before, now, kind, field) {
    const [old, current] = [before?.[kind]?.[field], now[kind]?.[field]];
    const seconds = before ? (now.at - before.at) / 1000 : 0;
    return old === undefined || current === undefined || seconds <= 0 ? NaN : Math.max(0, current - old) / seconds;
}

function recentLoss(before, now) {
    let [lost, received] = [0, 0];
    for (const kind of ["video", "audio"]) {
        if (!before?.[kind] || !now[kind]) continue;
        lost += (now[kind].packetsLost ?? 0) - (before[kind].packetsLost ?? 0);
        received += (now[kind].packetsReceived ?? 0) - (before[kind].packetsReceived ?? 0);
    }
    // Packets that come late are taken off the count again, so a second may show less than nothing.
    lost = Math.max(0, lost);
    return lost + received > 0 ? lost / (lost + received) : NaN;
}

function bufferDelay(before, now) {
    const delay = (now.video?.jitterBufferDelay ?? NaN) - (before?.video?.jitterBufferDelay ?? NaN);
    const emitted = (now.video?.jitterBufferEmittedCount ?? NaN) - (before?.video?.jitterBufferEmittedCount ?? NaN);
    return emitted > 0 ? delay / emitted : NaN;
}

function codecName(report, stream) {
    return report.get(stream?.codecId)?.mimeType ?? null;
}

function selectedPair(report, transport) {
    if (transport?.selectedCandidatePairId) return report.get(transport.selectedCandidatePairId) ?? null;
    // Firefox has no transport entry.
    return [...report.values()].find(entry => entry.type === "candidate-pair" && entry.selected) ?? null;
}

function pathText(report, pair) {
    const remote = report.get(pair?.remoteCandidateId);
    const local = report.get(pair?.localCandidateId);
    const protocol = (local?.protocol ?? remote?.protocol ?? "").toUpperCase();
    const address = remote?.address ?? remote?.ip;
    if (!protocol) return "";
    return address ? `${protocol} to ${address.includes(":") ? `[${address}]` : address}:${remote.port}` : protocol;
}
