import MediaFormats
import Wire

/// Renditions that are made when somebody asks for them.
extension HLSStream {
    /// What `/metrics` and the REST API tell of a lower rendition.
    package struct RungStatus: Sendable {
        package var name: String
        package var isMade: Bool
    }

    package var rungs: [RungStatus] {
        state.withLock { state in
            plan.ladder.rungs.enumerated().map { index, rung in
                RungStatus(name: rung.name, isMade: state.ladder.rungs[index].generation != nil)
            }
        }
    }

    /// Index among all renditions.
    func rendition(ofRung rung: Int) -> Int { plan.renditions.count + rung }

    /// A lower rendition is asked for: begins to make it, if it is not being made.
    ///
    /// - Returns: why it cannot be made; nil if it can.
    func want(rung: Int) -> String? {
        guard let shop else { return "This server makes no lower renditions" }
        let now = clock()
        let isMade = state.withLock { state in
            let known = state.ladder.rungs[rung]
            guard known.generation != nil || known.isFinished else { return false }
            state.ladder.rungs[rung].lastRequest = now
            return true
        }
        guard !isMade else { return nil }
        let rendition = rendition(ofRung: rung)
        return update { state in
            let known = state.ladder.rungs[rung]
            // Another request may have been quicker.
            guard known.generation == nil, !known.isFinished else { return nil }
            if let failure = known.failure, now < failure.until { return failure.reason }
            if let reason = shop.takePlace() { return reason }
            let generation = state.ladder.start(rung, rendition: rendition, now: now, window: &state.window) {
                shop.makeRunner(for: self, run: $0)
            }
            shop.open(LadderWork.Order(rung: rung, generation: generation))
            return nil
        }
    }

    /// Why a rendition that was asked for is not made any more; nil if it is.
    func failure(rung: Int, _ state: State) -> String? {
        guard state.window.reach(rendition(ofRung: rung)) == nil else { return nil }
        return state.ladder.rungs[rung].failure?.reason ?? "This rendition has just ended"
    }

    /// A part or a segment of a lower rendition is asked for.
    static func touch(_ rung: Int, _ state: inout State, now: Instant) {
        if state.ladder.rungs[rung].generation != nil { state.ladder.rungs[rung].lastRequest = now }
    }

    /// For runners: hands in what was made, if anything, and takes what is to be made next. The runner goes on until there
    /// is nothing.
    package func ladderTurn(
        run: Int, finished work: LadderWork? = nil, _ results: [LadderResult] = []
    ) -> LadderTurn {
        // Bytes get their last form before anybody has to wait for the lock.
        let media = results.map { $0.media.map(store) }
        let maps = results.map { $0.map.map(store) }
        let now = clock()
        let (turn, over) = update { state -> (LadderTurn, [Int]) in
            var over: [Int] = []
            if let work {
                for (index, result) in results.enumerated() {
                    let rung = result.order.rung
                    guard state.ladder.rungs[rung].generation == result.order.generation else { continue }
                    let rendition = rendition(ofRung: rung)
                    if let failure = result.failure {
                        state.ladder.rungs[rung].failure = (failure, now + LadderSchedule.failureHold)
                        state.window.stopLate(rendition)
                        over += [state.ladder.stop(rung)].compactMap(\.self)
                        continue
                    }
                    if let map = maps[index] { state.window.fillMap(rendition, number: work.map, map) }
                    state.window.fill(
                        rendition, segment: work.segment, part: work.part, media: media[index],
                        isIndependent: result.isIndependent)
                }
                state.ladder.done(run, work)
            }
            let turn = state.ladder.turn(run, first: plan.renditions.count, window: &state.window)
            over += finish(&state)
            return (turn, over)
        }
        for generation in over { shop?.giveBack(generation) }
        return turn
    }

    /// Renditions that have come to the end of the stream need nobody any more, but stay to be watched.
    private func finish(_ state: inout State) -> [Int] {
        guard state.window.isEnded else { return [] }
        var over: [Int] = []
        for rung in state.ladder.rungs.indices
        where state.ladder.rungs[rung].generation != nil && state.window.isEnded(rendition(ofRung: rung)) {
            over += [state.ladder.stop(rung)].compactMap(\.self)
            state.ladder.rungs[rung].isFinished = true
        }
        return over
    }

    /// Stops those that nobody has asked for.
    ///
    /// - Parameter limit: since their last request; zero: all.
    package func stopRungs(idleFor limit: Interval) {
        guard shop != nil else { return }
        let now = clock()
        let over = update { state -> [Int] in
            var over = finish(&state)
            for rung in state.ladder.rungs.indices
            where state.ladder.rungs[rung].generation != nil && now - state.ladder.rungs[rung].lastRequest >= limit {
                state.window.stopLate(rendition(ofRung: rung))
                over += [state.ladder.stop(rung)].compactMap(\.self)
            }
            return over
        }
        for generation in over { shop?.giveBack(generation) }
    }
}
