// Starts the page and joins its parts: publisher, player, list of streams, addresses.

import { Player } from "./play.js";
import { Publisher } from "./publish.js";
import { Recordings } from "./recordings.js";
import { ShareView } from "./share.js";
import { StreamList } from "./streams.js";
import { $ } from "./ui.js";

const linked = new URLSearchParams(location.search).get("play")?.trim() ?? "";
document.body.dataset.mode = linked ? "watch" : "studio";

const publisher = new Publisher();
const player = new Player(publisher);
player.way = new URLSearchParams(location.search).get("by") ?? "";
const share = new ShareView();
const list = new StreamList({
    play(name) {
        void player.play(name);
        const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
        $("play").scrollIntoView({ block: "nearest", behavior: calm ? "auto" : "smooth" });
    },
    ownName: () => publisher.own?.name ?? null,
});

function showTitle() {
    const parts = [];
    if (publisher.isLive) parts.push(`● ${publisher.name}`);
    if (player.name) parts.push(`▶ ${player.name}`);
    document.title = [...parts, "Weir"].join(" · ");
}

publisher.addEventListener("name", () => share.show(publisher.name));
publisher.addEventListener("live", showTitle);
player.addEventListener("name", showTitle);
list.addEventListener("change", () => {
    player.streamsChanged(list.streams);
    publisher.showPlayers(list.streams?.get(publisher.name)?.viewers ?? NaN);
    if (player.name) player.describe(list.streams?.get(player.name));
});

// Closing the tab must free the name at once, not when the server misses our ICE checks.
addEventListener("pagehide", () => {
    publisher.abandon();
    player.abandon();
});
// A page restored from the back-forward cache would show connections that are gone.
addEventListener("pageshow", event => {
    if (event.persisted) location.reload();
});

if (!window.isSecureContext) {
    $("insecure-note").hidden = false;
    $("insecure-note").textContent = "This page came over plain http from another machine, so the browser gives it no "
        + "camera and no screen. Open it by https (port 8444 unless configured otherwise) to publish from those. "
        + "The test picture and playing work here too.";
}

share.show(publisher.name);
list.start();
if (!linked) void new Recordings(publisher).start();
if (linked) void player.play(linked);
