import ControlPlane

/// `StreamKeepAliveEvent` (reference part 1.6): asks now and then whether a live stream may go on. Outside of the
/// queue, so that a slow answer to something else does not keep a stream alive.
extension RemoteSession {
    /// Begins with the first PUBLISHING or PLAYING, ends with the stream.
    func follow(_ event: StreamStatusEvent) {
        let keepAlive = backend.settings.keepAlive
        guard keepAlive.isEnabled, keepAlive.applications.contains(backend.application.key),
            sendName(.streamKeepAliveEvent) != nil
        else { return }
        let id = event.mediaSessionId
        let isLive = event.status == .publishing || event.status == .playing
        let ended = state.withLock { state -> Task<Void, Never>? in
            if let known = state.live[id] {
                guard !event.status.isTerminal else { return state.live.removeValue(forKey: id)?.timer }
                state.live[id] = (event, known.timer)
            } else if isLive, !state.isFinished {
                let timer = Task { [weak self, timers, interval = keepAlive.interval] in
                    var next = timers.now + interval
                    while await timers.sleep(until: next) {
                        guard let self else { return }
                        await self.askKeepAlive(id)
                        next += interval
                        while next <= timers.now {
                            self.backend.metrics.skippedKeepAlives.increment()
                            next += interval
                        }
                    }
                }
                state.live[id] = (event, timer)
            }
            return nil
        }
        ended?.cancel()
    }

    private func askKeepAlive(_ id: String) async {
        guard let event = state.withLock({ $0.live[id]?.event }), event.status != .paused else { return }
        let method = HookMethod.streamKeepAliveEvent
        let grant: ApplicationBackend.Grant
        do throws(HookFailure) {
            grant = try await backend.grantForCall(until: timers.now + backend.settings.timeout)
        } catch {
            backend.metrics.count(method, error.label)
            return
        }
        let result = await send(grant, method, HookBody.keepAlive(event), timeout: backend.settings.timeout)
        guard case .failure(let failure) = result else { return }
        guard config.config(method).failsOnError else {
            ignore(method, failure)
            return
        }
        // A backend that is slow or broken has not said that the stream must end.
        guard case .refused(code: 403, _) = failure else {
            log(method, failure, "a keep-alive was not answered")
            return
        }
        logger.info("hooks: a stream is ended by its keep-alive", metadata: ["mediaSessionId": "\(id)"])
        client?.endByKeepAlive(mediaSessionId: id)
    }
}
