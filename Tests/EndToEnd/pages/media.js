// Capturing and measuring, independent of any signalling protocol.

import { toneStream } from "./sound.js";

/**
 * Opens the fake camera and microphone of the test browser, or makes a picture of noise (without sound) or tones
 * (`tone: { left, right }` in Hz, without picture).
 */
export async function capture(
    { audio = true, video = true, width = 320, height = 240, frameRate = 15, noise = false, tone = null, quarters = false } = {}) {
    if (tone) return toneStream(tone);
    if (quarters) return quartersStream(width, height, frameRate);
    if (noise) return noiseStream(width, height, frameRate);
    return navigator.mediaDevices.getUserMedia({
        audio,
        video: video ? { width, height, frameRate } : false,
    });
}

/** Noise that never repeats: no encoder can save anything, so it fills whatever bitrate it may have. */
function noiseStream(width, height, frameRate) {
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d");
    const picture = context.createImageData(width, height);
    const words = new Uint32Array(picture.data.buffer);
    let state = 1;
    setInterval(() => {
        for (let i = 0; i < words.length; i += 1) {
            state ^= state << 13;
            state ^= state >>> 17;
            state ^= state << 5;
            words[i] = state | 0xff000000;
        }
        context.putImageData(picture, 0, 0);
    }, 1000 / frameRate);
    return canvas.captureStream(frameRate);
}

/** Red and green above, blue and white below: which way up a picture is, and whether its colours are right. */
function quartersStream(width, height, frameRate) {
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d");
    const paint = () => ["#f00", "#0f0", "#00f", "#fff"].forEach((colour, i) => {
        context.fillStyle = colour;
        context.fillRect((i % 2) * width / 2, Math.floor(i / 2) * height / 2, width / 2, height / 2);
    });
    setInterval(paint, 1000 / frameRate);
    return canvas.captureStream(frameRate);
}

/** An offer that leaves goog-remb as the only way to learn the bandwidth: no transport-cc feedback and extension. */
export function withoutTransportCC(sdp) {
    return sdp.split("\r\n")
        .filter(line => !/^a=rtcp-fb:\S+ transport-cc$/.test(line) && !line.includes("transport-wide-cc"))
        .join("\r\n");
}

/** Sets the most that the video sender may use, in bit/s. */
export async function limitBitrate(pc, maxBitrate) {
    for (const sender of pc.getSenders().filter(s => s.track?.kind === "video")) {
        const parameters = sender.getParameters();
        for (const encoding of parameters.encodings) encoding.maxBitrate = maxBitrate;
        await sender.setParameters(parameters);
    }
}

/** A muted, playing <video> that shows what a peer connection receives. */
export function showTracks(pc) {
    const video = document.createElement("video");
    video.muted = false;
    video.autoplay = true;
    video.playsInline = true;
    video.width = 160;
    const stream = new MediaStream();
    video.srcObject = stream;
    pc.addEventListener("track", event => {
        stream.addTrack(event.track);
        video.play().catch(() => {});
    });
    document.getElementById("videos").append(video);
    return video;
}

/** Puts one codec (with its RTX) first and alone, by the standard API. `codec` is for example "video/VP9". */
export function preferCodec(pc, kind, codec) {
    for (const transceiver of pc.getTransceivers()) {
        const transceiverKind = transceiver.receiver.track.kind;
        if (transceiverKind !== kind) continue;
        const sending = transceiver.direction === "sendonly";
        const all = (sending ? RTCRtpSender : RTCRtpReceiver).getCapabilities(kind).codecs;
        const wanted = all.filter(c => c.mimeType.toLowerCase() === codec.toLowerCase());
        const resilience = all.filter(c => /\/rtx$/i.test(c.mimeType));
        if (wanted.length === 0) throw new Error(`this browser has no ${codec}`);
        transceiver.setCodecPreferences([...wanted, ...resilience]);
    }
}

export async function gatheringComplete(pc, limitMs = 2000) {
    if (pc.iceGatheringState === "complete") return;
    await new Promise(resolve => {
        const timer = setTimeout(resolve, limitMs);
        pc.addEventListener("icegatheringstatechange", () => {
            if (pc.iceGatheringState !== "complete") return;
            clearTimeout(timer);
            resolve();
        });
    });
}

/** The figures of getStats() that the tests use, flattened. Counters are cumulative. */
export async function readStats(pc) {
    const report = await pc.getStats();
    const out = { at: performance.now(), connection: pc.connectionState, audio: null, video: null, protocol: null };
    let pair = null;
    for (const s of report.values()) {
        if (s.type === "inbound-rtp" || s.type === "outbound-rtp") {
            const codec = s.codecId ? report.get(s.codecId)?.mimeType : null;
            out[s.kind] = {
                codec,
                packets: s.packetsReceived ?? s.packetsSent ?? 0,
                bytes: s.bytesReceived ?? s.bytesSent ?? 0,
                lost: s.packetsLost ?? 0,
                frames: s.framesDecoded ?? s.framesEncoded ?? 0,
                keyFrames: s.keyFramesDecoded ?? s.keyFramesEncoded ?? 0,
                width: s.frameWidth ?? 0,
                height: s.frameHeight ?? 0,
                energy: s.totalAudioEnergy ?? 0,
                concealed: s.concealedSamples ?? 0,
                nacks: s.nackCount ?? 0,
                plis: s.pliCount ?? 0,
                freezes: s.freezeCount ?? 0,
                target: s.targetBitrate ?? 0,
                qpSum: s.qpSum ?? 0,
            };
        } else if (s.type === "transport" && s.selectedCandidatePairId) {
            pair = report.get(s.selectedCandidatePairId);
            out.srtpCipher = s.srtpCipher ?? null;
        } else if (s.type === "candidate-pair" && s.selected) {
            pair = s;  // Firefox has it here
        }
    }
    if (pair) {
        out.protocol = report.get(pair.localCandidateId)?.protocol ?? null;
        out.roundTripMs = (pair.currentRoundTripTime ?? 0) * 1000;
    }
    return out;
}

/** Luma of the picture shown now: mean, variance, and a small thumbnail to compare two moments with. */
export function readPicture(video) {
    const canvas = document.createElement("canvas");
    canvas.width = 64;
    canvas.height = 48;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(video, 0, 0, canvas.width, canvas.height);
    const rgba = context.getImageData(0, 0, canvas.width, canvas.height).data;
    const luma = [];
    for (let i = 0; i < rgba.length; i += 4) {
        luma.push(0.299 * rgba[i] + 0.587 * rgba[i + 1] + 0.114 * rgba[i + 2]);
    }
    const mean = luma.reduce((a, b) => a + b, 0) / luma.length;
    const variance = luma.reduce((a, b) => a + (b - mean) ** 2, 0) / luma.length;
    return { mean, variance, luma: luma.map(Math.round), width: video.videoWidth, height: video.videoHeight };
}

/** Resolves with performance.now() of the first decoded frame, seen in the statistics or on screen. */
export async function firstFrame(pc, video, limitMs = 10000) {
    const end = performance.now() + limitMs;
    let shown = null;
    video.requestVideoFrameCallback(now => { shown = performance.now(); });
    while (performance.now() < end) {
        if (shown !== null) return shown;
        if (pc.signalingState === "closed") throw new Error("peer connection closed before the first frame");
        const decoded = [...(await pc.getStats()).values()]
            .some(s => s.type === "inbound-rtp" && s.kind === "video" && s.framesDecoded > 0);
        if (decoded) return performance.now();
        await new Promise(resolve => setTimeout(resolve, 5));
    }
    throw new Error("no frame was decoded in time");
}
