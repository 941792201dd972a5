// What the Python side calls: every peer lives in a registry under a key, results are plain JSON.

import { capture, firstFrame, preferCodec, readPicture, readStats, showTracks } from "./media.js";
import { Room } from "./room.js";
import { channelMeter } from "./sound.js";
import { WcsSession } from "./wcs.js";
import { whepPlay, whipPublish } from "./whip.js";

const sessions = new Map();
const peers = new Map();
const rooms = new Map();

function describe(peer) {
    return {
        status: peer.status, info: peer.info, history: peer.history, errors: peer.errors, events: peer.events,
        lastStatus: peer.lastStatus ?? null, connection: peer.pc.connectionState,
        offer: peer.offer ?? null, remoteSDP: peer.remoteSDP ?? null,
        location: peer.location ?? null, etag: peer.etag ?? null,
    };
}

window.app = {
    async wcsConnect(session, url, options) {
        const created = new WcsSession(url);
        sessions.set(session, created);
        return created.connect(options);
    },
    wcsSession(session) {
        const { received, sent, pings, closed } = sessions.get(session);
        return { received, sent, pings, closed };
    },
    /** What the server sent to the sessions of this page and must not have. */
    wcsViolations: () => [...sessions.values()].flatMap(session => session.violations),
    wcsClose(session) {
        sessions.get(session).socket.close();
    },
    wcsSend(session, message, object) {
        sessions.get(session).send(message, object);
    },
    async wcsPublish(key, session, name, media, options) {
        peers.set(key, await sessions.get(session).publish(name, await capture(media), options));
        return peers.get(key).mediaSessionId;
    },
    async wcsPlay(key, session, name, options) {
        peers.set(key, await sessions.get(session).play(name, options));
        return peers.get(key).mediaSessionId;
    },
    /** Joins a room. What its others publish is played under the key of the stream's name. */
    async roomJoin(session, name, login) {
        const room = new Room(sessions.get(session), name, login, stream => peers.set(stream.name, stream));
        rooms.set(session, room);
        await room.command("join", { name });
    },
    async roomPublish(session, key, media) {
        const stream = await rooms.get(session).publish(await capture(media));
        peers.set(key, stream);
        await stream.waitStatus(["PUBLISHING"]);
        return stream.name;
    },
    roomCommand: (session, command, options) => rooms.get(session).command(command, options),
    /** What the member knows: the events so far, and who has which streams. */
    room(session) {
        const { events, participants } = rooms.get(session);
        return { events, participants: Object.fromEntries([...participants].map(([login, names]) => [login, [...names]])) };
    },
    /** The statuses of the streams that were played, by name. */
    playedStatuses: names => Object.fromEntries(names.map(name => [name, peers.get(name)?.status ?? null])),
    async waitStatus(key, wanted, limitMs) {
        return peers.get(key).waitStatus(wanted, limitMs);
    },
    async whipPublish(key, url, media, options) {
        const peer = await whipPublish(url, await capture(media), options);
        peers.set(key, peer);
        await peer.connected();
    },
    async whepPlay(key, url, options) {
        const peer = await whepPlay(url, options);
        peers.set(key, peer);
        await peer.connected();
    },
    /** Publisher and player of one page joined without any server: proves the measuring code, and is the base line. */
    async loopback(sender, receiver, media, codec) {
        const from = { pc: new RTCPeerConnection(), status: "LOOP", events: [], errors: [], history: [] };
        const to = { pc: new RTCPeerConnection(), status: "LOOP", events: [], errors: [], history: [] };
        to.video = showTracks(to.pc);
        from.pc.onicecandidate = event => to.pc.addIceCandidate(event.candidate);
        to.pc.onicecandidate = event => from.pc.addIceCandidate(event.candidate);
        const captured = media.black ? blackPicture() : await capture(media);
        for (const track of captured.getTracks()) from.pc.addTransceiver(track, { direction: "sendonly" });
        if (codec) preferCodec(from.pc, "video", codec);
        await from.pc.setLocalDescription(await from.pc.createOffer());
        await to.pc.setRemoteDescription(from.pc.localDescription);
        await to.pc.setLocalDescription(await to.pc.createAnswer());
        await from.pc.setRemoteDescription(to.pc.localDescription);
        peers.set(sender, from);
        peers.set(receiver, to);
    },
    stats: key => readStats(peers.get(key).pc),
    picture: key => readPicture(peers.get(key).video),
    /** Level of the left and the right channel that the peer plays now. The first call begins to listen. */
    channels(key) {
        const peer = peers.get(key);
        peer.meter ??= channelMeter(peer.video.srcObject);
        return peer.meter();
    },
    describe: key => describe(peers.get(key)),
    stop: key => peers.get(key).stop(),
    stopAsSDK: key => peers.get(key).stopAsSDK(),
    /** The publisher's camera and microphone fall silent; the connection stays. */
    async silence(key) {
        await Promise.all(peers.get(key).pc.getSenders().map(sender => sender.replaceTrack(null)));
    },
    /** Milliseconds from the call of play to the first decoded frame. */
    async joinTime(key, session, name) {
        const begin = performance.now();
        const stream = await sessions.get(session).play(name);
        peers.set(key, stream);
        return await firstFrame(stream.pc, stream.video) - begin;
    },
    async whepJoinTime(key, url, options) {
        const begin = performance.now();
        const peer = await whepPlay(url, options);
        peers.set(key, peer);
        return await firstFrame(peer.pc, peer.video) - begin;
    },
    async fetchStatus(url, method, headers, body) {
        const response = await fetch(url, { method, headers, body });
        return { status: response.status, headers: Object.fromEntries(response.headers), body: await response.text() };
    },
};

function blackPicture() {
    const canvas = document.createElement("canvas");
    canvas.width = 320;
    canvas.height = 240;
    const context = canvas.getContext("2d");
    setInterval(() => context.fillRect(0, 0, 320, 240), 66);
    return canvas.captureStream(15);
}
window.app.ready = true;
