import FoundationEssentials
import Logging
import WeirJSON

/// Data of applications, and pictures.
extension ClientSession {
    /// Data for the backend (signalling 5.1). Settled by `.dataStatus`, whatever the backend does; if the session ends
    /// before, only the backend hears of that.
    package func sendData(operationId: String, payload: JSONText) {
        journal.add(
            .received,
            "sendData operationId=\(JournalText.clean(operationId)) payload=\(JournalText.bytes(payload))")
        operate(.data(operationId: operationId, payload: payload), settles: operationId) { session, refusal in
            session.settle(operationId, refusal)
        } serve: { session in
            session.settle(operationId, nil)
        }
    }

    private nonisolated func settle(_ operationId: String, _ refusal: String?) {
        emit(.dataStatus(operationId: operationId, accepted: refusal == nil, info: refusal))
        hooks.tell(.dataStatus(operationId: operationId, accepted: refusal == nil, info: refusal))
    }

    /// Data of the operator for the client. The backend hears what became of it: accepted once it is written to the
    /// client's socket (the Web SDK does not acknowledge), failed if the session ends before.
    package func sendToClient(operationId: String, payload: JSONText) {
        guard closeReason == nil else { return }
        guard facts.kind == .webSocket else {
            hooks.tell(.dataStatus(operationId: operationId, accepted: false, info: "The client takes no data"))
            return
        }
        undelivered[operationId, default: 0] += 1
        deliverData(operationId: operationId, payload: payload)
    }

    /// The adapter has written data to the client.
    package func dataDelivered(operationId: String) {
        guard let count = undelivered[operationId], closeReason == nil else { return }
        undelivered[operationId] = count > 1 ? count - 1 : nil
        hooks.tell(.dataStatus(operationId: operationId, accepted: true, info: nil))
    }

    /// The session ends: what is not settled will not be.
    func failData() {
        let info = StatusInfo.stoppedBySessionDisconnect.rawValue
        let waiting = waitingData.sorted { $0.key < $1.key }.map(\.value)
        let given = undelivered.sorted { $0.key < $1.key }.flatMap { Array(repeating: $0.key, count: $0.value) }
        waitingData = [:]
        undelivered = [:]
        for operationId in waiting + given {
            hooks.tell(.dataStatus(operationId: operationId, accepted: false, info: info))
        }
    }

    /// A picture of a published stream (signalling 3.10). Answered by the stream event `snapshotCompleted` or
    /// `snapshotFailed`, which the backend gets too.
    package func snapshot(mediaSessionId: String, name: String) {
        journal.add(.received, "snapshot \(JournalText.stream(mediaSessionId, name))")
        // Whoever may not play a stream may not see it either, unless it is its own.
        let isOwn = streams.values.contains { $0.published && $0.request.name == name }
        if !isOwn, case .refuse(let refusal) = rights(to: .play, name, custom: nil) {
            context.metrics.countRejection(refusal.label)
            snapshotFailed(mediaSessionId, refusal.info)
            return
        }
        operate(.snapshot(mediaSessionId: mediaSessionId, name: name)) { session, refusal in
            session.snapshotFailed(mediaSessionId, refusal)
        } serve: { session in
            let outcome = await session.context.snapshot(of: name)
            guard session.closeReason == nil else { return }
            if case .png(let bytes) = outcome { session.snapshotCompleted(mediaSessionId, bytes) }
            if let info = outcome.info { session.snapshotFailed(mediaSessionId, info) }
        }
    }

    private nonisolated func snapshotFailed(_ mediaSessionId: String, _ info: String) {
        let payload = JSONText(JSONValue.object([JSONMember("info", .string(info))]).serialized)
        emit(.streamEvent(mediaSessionId: mediaSessionId, type: "snapshotFailed", payload: payload))
        hooks.tell(.streamEvent(mediaSessionId: mediaSessionId, type: "snapshotFailed", payload: payload))
    }

    /// Only so many pictures wait for backends at a time; beyond that they hear of the picture without getting it.
    private func snapshotCompleted(_ mediaSessionId: String, _ bytes: [UInt8]) {
        let type = "snapshotCompleted"
        let payload = JSONText("{\"snapshot\":\"\(Data(bytes).base64EncodedString())\"}")
        emit(.streamEvent(mediaSessionId: mediaSessionId, type: type, payload: payload))
        let places = context.pictureCopies
        guard places.take() else {
            hooks.tell(.streamEvent(mediaSessionId: mediaSessionId, type: type, payload: JSONText("{}")))
            return
        }
        let told = hooks.tell(.streamEvent(mediaSessionId: mediaSessionId, type: type, payload: payload))
        Task {
            await told?.wait()
            places.giveBack()
        }
    }

    /// Asks the backend, then serves the client or lets it know the text of a refusal. So many wait at a time, and so
    /// many may come per second; a client that asks for more is refused at once, without the backend.
    /// - Parameter settles: the operation of `sendData`, of which the backend hears also if the session ends before.
    func operate(
        _ call: DirectCall, settles operationId: String? = nil,
        refuse: @escaping @Sendable (ClientSession, String) -> Void,
        serve: @escaping @Sendable (isolated ClientSession) async -> Void
    ) {
        guard closeReason == nil else { return }
        guard operations < context.configuration.operationLimit, operationRate.take(now: context.timers.now) else {
            context.metrics.countRejection("tooManyOperations")
            refuse(self, "Too many requests are waiting")
            return
        }
        operations += 1
        lastOperation += 1
        let serial = lastOperation
        if let operationId { waitingData[serial] = operationId }
        let answer = hooks.ask(call)
        Task {
            defer { operations -= 1 }
            let decision = await decision(answer, call.method)
            waitingData[serial] = nil
            guard closeReason == nil else { return }
            switch decision {
            case .allow, .change: await serve(self)
            case .refuse(_, let reason): refuse(self, reason)
            case nil: refuse(self, SignallingError.backendTimeout.info)
            }
        }
    }
}

extension ClientSession: HookedClient {
    /// Data of the backend, the operator or an application for the client (`OnDataEvent`).
    package nonisolated func deliverData(operationId: String, payload: JSONText) {
        emit(.data(operationId: operationId, payload: payload))
    }

    package nonisolated func reportError(_ info: String) { emit(.error(info: info)) }

    package nonisolated func endByKeepAlive(mediaSessionId: String) {
        Task { await end(mediaSessionId, .keepAlive) }
    }

    /// Fields that the client is not to see in messages of that method.
    package nonisolated func clientExclude(_ method: HookMethod) -> Set<String> { hooks.clientExclude(method) }
}

/// What became of data for several clients.
package struct DataDelivery: Hashable, Sendable {
    /// Clients that are given it.
    package var sent: Int
    /// Sessions that there are not.
    package var missing: [String]

    package init(sent: Int, missing: [String]) {
        self.sent = sent
        self.missing = missing
    }
}

extension ControlPlane {
    /// Sends data of the operator to clients (`/data/send`). The backend of each hears by `DataStatusEvent` what became
    /// of it; of sessions that there are not only the caller does.
    package nonisolated func sendData(
        to sessions: [String], operationId: String, payload: JSONText
    ) async -> DataDelivery {
        var delivery = DataDelivery(sent: 0, missing: [])
        for id in sessions {
            if let session = context.registry.session(id) {
                await session.sendToClient(operationId: operationId, payload: payload)
                delivery.sent += 1
            } else {
                delivery.missing.append(id)
            }
        }
        return delivery
    }
}
