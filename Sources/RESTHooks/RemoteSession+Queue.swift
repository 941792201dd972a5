import ControlPlane

/// The queue: what is asked and told is sent in the order in which it came.
extension RemoteSession {
    /// Puts a call at the end. Its answer comes by the deadline, wherever the call is by then.
    /// - Returns: why it was not put there.
    func enqueue(_ call: DirectCall, _ answer: HookAnswer) -> HookFailure? {
        let deadline = timers.now + backend.settings.timeout
        let isUp = backend.isUp
        return state.withLock { state in
            // Events wait for a backend that is down, a client must not.
            if !state.entries.isEmpty, !isUp { return .circuitOpen }
            guard state.entries.count < backend.settings.sessionQueue else { return .overloaded }
            let isFirst = state.runner == nil
            let id = append(.ask(call, answer, deadline: deadline), ticket: nil, after: nil, done: nil, &state)
            if !isFirst, let index = state.entries.indices.last {
                let timers = timers
                state.entries[index].alarm = Task { [weak self] in
                    if await timers.sleep(until: deadline) { self?.expire(id) }
                }
            }
            return nil
        }
    }

    /// Puts an event at the end; the oldest one goes if there are too many.
    @discardableResult
    func enqueue(_ work: Entry.Work, isLow: Bool, after: Gate?) -> Gate {
        let done = Gate()
        let ticket = Backlog.Ticket(isLow: isLow, queue: self)
        // Before the runner can finish it.
        backend.backlog.add(ticket)
        let victim = state.withLock { state -> Entry? in
            // Dropped by the backlog already.
            guard ticket.isWaiting else {
                done.open()
                return nil
            }
            append(work, ticket: ticket, after: after, done: done, &state)
            guard state.entries.count > backend.settings.sessionQueue else { return nil }
            let events = state.entries.indices.filter { state.entries[$0].ticket != nil }
            let order = events.filter { state.entries[$0].ticket?.isLow == true } + events
            guard let index = order.first(where: { state.entries[$0].ticket?.take() == true }) else { return nil }
            return state.entries.remove(at: index)
        }
        if let victim { dropped(victim) }
        return done
    }

    @discardableResult
    private func append(
        _ work: Entry.Work, ticket: Backlog.Ticket?, after: Gate?, done: Gate?, _ state: inout State
    ) -> Int {
        state.lastId += 1
        state.entries.append(Entry(id: state.lastId, work: work, ticket: ticket, after: after, done: done))
        if state.runner == nil { state.runner = Task { await run() } }
        return state.lastId
    }

    /// The backlog wants room.
    func dropTaken(_ ticket: Backlog.Ticket) {
        let (victim, idle) = state.withLock { state -> (Entry?, Task<Void, Never>?) in
            guard let index = state.entries.firstIndex(where: { $0.ticket === ticket }) else { return (nil, nil) }
            let victim = state.entries.remove(at: index)
            // Nothing to wait for any more.
            return (victim, state.entries.isEmpty && !state.isSending ? state.runner : nil)
        }
        if let victim {
            dropped(victim)
        } else {
            backend.metrics.dropped.increment()
            backend.backlog.finish(ticket)
        }
        idle?.cancel()
    }

    private func dropped(_ entry: Entry) {
        backend.metrics.dropped.increment()
        finished(entry)
    }

    private func finished(_ entry: Entry) {
        entry.alarm?.cancel()
        if let ticket = entry.ticket { backend.backlog.finish(ticket) }
        entry.done?.open()
    }

    /// A call that still waits when its time is over.
    private func expire(_ id: Int) {
        guard let entry = remove(id), case .ask(let call, let answer, _) = entry.work else { return }
        backend.metrics.count(call.method, HookFailure.timeout.label)
        answer.settle(decide(.failure(.timeout), call))
    }

    /// The backend is down: events wait for it, clients do not.
    private func failCalls() {
        let calls = state.withLock { state in
            defer { state.entries.removeAll { $0.ticket == nil } }
            return state.entries.filter { $0.ticket == nil }
        }
        for entry in calls {
            guard case .ask(let call, let answer, _) = entry.work else { continue }
            entry.alarm?.cancel()
            backend.metrics.count(call.method, HookFailure.circuitOpen.label)
            answer.settle(decide(.failure(.circuitOpen), call))
        }
    }

    /// Takes an entry out, unless somebody was faster.
    private func remove(_ id: Int, toSend: Bool = false) -> Entry? {
        state.withLock { state in
            guard let index = state.entries.firstIndex(where: { $0.id == id }) else { return nil }
            guard state.entries[index].ticket?.take() != false else { return nil }
            state.isSending = state.isSending || toSend
            return state.entries.remove(at: index)
        }
    }

    // MARK: The runner

    /// Sends until nothing is left. Whoever adds the first entry starts it.
    private func run() async {
        while let head = next() {
            switch head.work {
            case .ask(let call, let answer, let deadline):
                guard let entry = remove(head.id, toSend: true) else { continue }
                entry.alarm?.cancel()
                do throws(HookFailure) {
                    await perform(entry, try await backend.grantForCall(until: deadline))
                } catch {
                    backend.metrics.count(call.method, error.label)
                    answer.settle(decide(.failure(error), call))
                }
            case .tell, .error:
                await wait(for: head.after)
                guard let grant = await backend.grantForEvent(whileDown: { failCalls() }) else { continue }
                guard let entry = remove(head.id, toSend: true) else {
                    backend.giveBack(grant)
                    continue
                }
                await perform(entry, grant)
                finished(entry)
            }
        }
    }

    /// The oldest entry. Without one the runner has ended; one that was cancelled for that and finds entries again
    /// hands over to a new one, since it could not wait any more.
    private func next() -> Entry? {
        state.withLock { state in
            state.isSending = false
            guard let head = state.entries.first, !Task.isCancelled else {
                state.runner = state.entries.isEmpty ? nil : Task { await run() }
                return nil
            }
            return head
        }
    }

    /// Another session's event goes first. That one is sent or dropped in bounded time, but perhaps not in ours.
    private func wait(for gate: Gate?) async {
        guard let gate else { return }
        _ = await withDeadline(timers, backend.settings.timeout) { await gate.wait() }
    }
}
