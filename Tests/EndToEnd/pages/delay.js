// Publisher and player pages of the delay measurement: a picture with the time in it goes one way, peer to peer with
// the SDP carried by the test, or through WHIP and WHEP.

import { calibrateClock, clock, drawTime, HEIGHT, readTime, WIDTH } from "./clockpicture.js";
import { gatheringComplete, limitBitrate, preferCodec, showTracks } from "./media.js";
import { whepPlay, whipPublish } from "./whip.js";

const FRAME_RATE = 15;
const peers = new Map();
const watched = new Map();

function newCanvas() {
    const canvas = document.createElement("canvas");
    canvas.width = WIDTH;
    canvas.height = HEIGHT;
    return canvas;
}

/** The time is drawn anew for every repaint of the page; captureStream takes 15 of these pictures a second. */
function clockStream() {
    const canvas = newCanvas();
    document.body.append(canvas);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const draw = () => {
        drawTime(context, clock());
        requestAnimationFrame(draw);
    };
    draw();
    return canvas.captureStream(FRAME_RATE);
}

/** Notes the delay of every frame that is shown, from the time of drawing to that of presentation. */
function watch(video) {
    const notes = { delays: [], unreadable: 0, repeated: 0 };
    const context = newCanvas().getContext("2d", { willReadFrequently: true });
    let last = null;
    const onFrame = (now, metadata) => {
        context.drawImage(video, 0, 0, WIDTH, HEIGHT);
        const shown = clock(metadata.presentationTime);
        const drawn = readTime(context, clock());
        if (drawn === null) notes.unreadable += 1;
        else if (drawn === last) notes.repeated += 1;
        else notes.delays.push(shown - drawn);
        last = drawn;
        video.requestVideoFrameCallback(onFrame);
    };
    video.requestVideoFrameCallback(onFrame);
    return notes;
}

window.app = {
    calibrate: () => calibrateClock(),
    openClock() {
        window.app.stream = clockStream();
    },
    async directOffer(key, codec, maxBitrate) {
        const pc = new RTCPeerConnection();
        peers.set(key, { pc });
        for (const track of window.app.stream.getTracks()) {
            pc.addTransceiver(track, { direction: "sendonly", streams: [window.app.stream] });
        }
        preferCodec(pc, "video", codec);
        await pc.setLocalDescription(await pc.createOffer());
        await limitBitrate(pc, maxBitrate);
        await gatheringComplete(pc);
        return pc.localDescription.sdp;
    },
    async directAnswer(key, sdp) {
        const pc = new RTCPeerConnection();
        const peer = { pc, video: showTracks(pc) };
        peers.set(key, peer);
        watched.set(key, watch(peer.video));
        await pc.setRemoteDescription({ type: "offer", sdp });
        await pc.setLocalDescription(await pc.createAnswer());
        await gatheringComplete(pc);
        return pc.localDescription.sdp;
    },
    async directFinish(key, sdp) {
        await peers.get(key).pc.setRemoteDescription({ type: "answer", sdp });
    },
    async whipPublish(key, url, codec, maxBitrate) {
        const peer = await whipPublish(url, window.app.stream, { codec, maxBitrate });
        peers.set(key, peer);
        await peer.connected();
    },
    async whepPlay(key, url, codec) {
        const peer = await whepPlay(url, { audio: false, codec });
        peers.set(key, peer);
        watched.set(key, watch(peer.video));
        await peer.connected();
    },
    /** By the player of the server's own page, or by the browser's. */
    async hlsPlay(key, url, native = false) {
        const video = document.createElement("video");
        video.autoplay = video.muted = video.playsInline = true;
        // Its pictures are read.
        video.crossOrigin = "anonymous";
        document.getElementById("videos").append(video);
        const { HLSPlayback } = await import("/web/hls-player.js");
        const { NativePlayback } = await import("/web/hls-native.js");
        const playback = new (native ? NativePlayback : HLSPlayback)({ url, name: key }, video);
        peers.set(key, { playback, video, stop: () => playback.stop() });
        watched.set(key, watch(video));
        void playback.start();
    },
    hlsState(key) {
        const { playback, video } = peers.get(key);
        return {
            state: playback.state, delay: playback.delay, stalls: playback.stalls, codecs: playback.codecs,
            problem: playback.problem?.message ?? null, time: video.currentTime, buffered: playback.buffered,
            width: video.videoWidth, rate: video.playbackRate,
        };
    },
    /** Forgets what was measured until now: the frames of the warm-up. */
    forget(key) {
        const notes = watched.get(key);
        notes.delays.length = 0;
        notes.unreadable = 0;
        notes.repeated = 0;
    },
    measured: key => watched.get(key),
    /** Sums of getStats() that tell where a frame spent its time; all in seconds, cumulative. */
    async parts(key) {
        const out = {};
        for (const s of (await peers.get(key).pc.getStats()).values()) {
            if (s.type !== "inbound-rtp" && s.type !== "outbound-rtp") continue;
            for (const name of ["framesDecoded", "framesEncoded", "jitterBufferDelay", "jitterBufferEmittedCount",
                "jitterBufferTargetDelay", "jitterBufferMinimumDelay", "totalProcessingDelay", "totalDecodeTime",
                "totalAssemblyTime", "framesAssembledFromMultiplePackets", "totalPacketSendDelay",
                "totalEncodeTime", "packetsSent", "bytesSent", "jitter"]) {
                if (s[name] !== undefined) out[name] = s[name];
            }
            out.codec = (await peers.get(key).pc.getStats()).get(s.codecId)?.mimeType ?? null;
        }
        return out;
    },
    async stop(key) {
        const peer = peers.get(key);
        if (peer.stop) await peer.stop();
        else peer.pc.close();
        peer.video?.remove();
    },
    ready: true,
};
