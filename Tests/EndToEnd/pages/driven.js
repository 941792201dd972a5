// For browsers that no driver controls: asks the page server what to call, calls it, posts the result.

import "./app.js";

const RETRY_MS = 200;
const page = new URLSearchParams(location.search).get("page");

function post(body) {
    return fetch("/driven/result", {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ page, ...body }),
    });
}

async function perform({ id, name, args }) {
    try {
        await post({ id, value: await window.app[name](...args) ?? null });
    } catch (error) {
        await post({ id, error: `${error.name}: ${error.message}\n${error.stack}` });
    }
}

/** Every answer of the server is one call, `{ open }`, or nothing (it lets no request wait for ever). */
async function serve() {
    for (;;) {
        let next;
        try {
            const response = await fetch(`/driven/next?page=${page}`);
            if (response.status === 204) continue;
            next = await response.json();
        } catch {
            await new Promise(resolve => setTimeout(resolve, RETRY_MS));
            continue;
        }
        if (next.open) {
            location.assign(next.open);
            return;
        }
        perform(next);
    }
}

for (const kind of ["error", "unhandledrejection"]) {
    window.addEventListener(kind, event => post({ message: String(event.reason ?? event.message) }));
}
serve();
