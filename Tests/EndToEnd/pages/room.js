// A client of the room API over WcsSession, written from its specification: joins, publishes, plays what the others
// publish, and notes what the SDK would throw on.

export class Room {
    /** `played(stream)` gets every stream that this member begins to play. */
    constructor(session, name, login, played) {
        this.session = session;
        this.name = name;
        this.login = login;
        this.played = played;
        /** Logins of the others, and the names of their streams. */
        this.participants = new Map();
        /** What the server told, in order. */
        this.events = [];
        this.operations = new Map();
        session.onData = object => this.take(object.payload);
        session.onDataStatus = object => this.settle(object);
    }

    /** Sends a command; resolves when it was accepted. */
    command(command, options) {
        const operationId = crypto.randomUUID();
        const settled = new Promise((resolve, reject) => this.operations.set(operationId, { resolve, reject }));
        this.session.send("sendData", { operationId, payload: { command, options } });
        return settled;
    }

    settle({ operationId, status, info }) {
        const operation = this.operations.get(operationId);
        this.operations.delete(operationId);
        if (!operation) this.wrong(`settled twice or never begun: ${operationId}`);
        else if (status === "ACCEPTED") operation.resolve();
        else if (status === "FAILED") operation.reject(new Error(info));
        else this.wrong(`a status that the SDK throws on: ${status}`);
    }

    wrong(what) {
        this.session.violations.push(`room: ${what}`);
    }

    take({ roomName, name, info }) {
        if (roomName !== this.name) return this.wrong(`of another room: ${roomName}`);
        this.events.push({ name, info });
        switch (name) {
            case "STATE":
                for (const one of info) {
                    const login = one.login ?? one;
                    if (login === this.login) this.wrong("STATE names its receiver");
                    if (!this.participants.has(login)) this.participants.set(login, new Set());
                    if (one.name) this.play(login, one.name);
                }
                break;
            case "JOINED":
                this.participants.set(info, new Set());
                break;
            case "LEFT":
                if (!this.participants.delete(info)) this.wrong(`LEFT of nobody: ${info}`);
                break;
            case "PUBLISHED":
                if (info.login === this.login) this.wrong("PUBLISHED of the receiver itself");
                if (!this.participants.has(info.login)) this.wrong(`PUBLISHED of a stranger: ${info.login}`);
                else this.play(info.login, info.name);
                break;
            case "UNPUBLISHED":
            case "FAILED":
                if (!this.participants.get(info.login)?.delete(info.name)) this.wrong(`${name} of an unknown stream`);
                break;
            case "MESSAGE":
                if (!this.participants.has(info.from)) this.wrong(`MESSAGE of a stranger: ${info.from}`);
                break;
            default:
                this.wrong(`unknown event ${name}`);
        }
    }

    async play(login, name) {
        this.participants.get(login).add(name);
        this.played(await this.session.play(name, { extra: { custom: { name: this.name } } }));
    }

    async publish(media) {
        const digits = Math.floor(Math.random() * 65536).toString(16).padStart(4, "0");
        return this.session.publish(
            `${this.name}-${this.login}-${digits}`, media, { strip: ["VP9", "H264", "AV1"], extra: { custom: { name: this.name } } });
    }
}
