import Logging

/// Bug reports of a client (signalling 6.1).
extension ClientSession {
    /// Reports that one session may have kept.
    static let maxReports = 20
    /// Packets of one track that a report shows.
    static let packetsPerTrack = 200
    /// The type that asks for a look at the packets.
    static let noMedia = "no_media"

    /// Keeps a report of the client with what is known of the session, and tells it under which name.
    package func submitBugReport(text: String, type: String) {
        journal.add(.received, "submitBugReport type=\(JournalText.clean(type)) text=(\(text.utf8.count) bytes)")
        operate(.bugReport(text: text, type: type)) { session, refusal in
            session.emit(.error(info: refusal))
        } serve: { session in
            await session.report(text: text, type: type)
        }
    }

    private func report(text: String, type: String) async {
        do throws(DiagnosticError) {
            let name = try await keepReport(text: text, type: type)
            logger.notice(
                "bug report of a client",
                metadata: ["report": "\(name)", "type": "\(JournalText.clean(type))"])
            emit(.bugReport(fileName: name))
            if closeReason == nil { hooks.tell(.bugReportStatus(fileName: name, text: text, type: type)) }
        } catch {
            logger.warning("bug report of a client is lost", metadata: ["error": "\(error)"])
            emit(.error(info: "Bug report: \(error.info)"))
        }
    }

    private func keepReport(text: String, type: String) async throws(DiagnosticError) -> String {
        guard let store = context.diagnostics else { throw .off }
        guard reports < Self.maxReports else { throw .tooManyReports }
        reports += 1
        let streams = await reportedStreams()
        let packets = type == Self.noMedia ? await reportedPackets(streams) : nil
        let report = BugReport(
            session: reportedFacts(), type: type, text: text, streams: streams, packets: packets,
            journal: journal.entries, forgotten: journal.forgotten, now: context.timers.now)
        let id = id
        let kept = await withDeadline(context.timers, context.configuration.storeTimeout) {
            () -> Result<String, DiagnosticError> in
            do throws(DiagnosticError) {
                return .success(try await store.keepReport(report.rendered, session: id))
            } catch {
                return .failure(error)
            }
        }
        guard let kept else { throw .timeout }
        return try kept.get()
    }

    private func reportedFacts() -> [(String, String)] {
        var out = [("session", id), ("application", facts.appKey), ("client", facts.remoteAddress)]
        out.append(("protocol", facts.kind.rawValue))
        out += clientVersions()
        if let closeReason { out.append(("closed", closeReason.description)) }
        return out
    }

    private func reportedStreams() async -> [BugReport.Stream] {
        var out: [BugReport.Stream] = []
        for (id, stream) in streams.sorted(by: { $0.key < $1.key }) {
            let publisher = stream.published ? nil : context.registry.livePublisher(of: stream.request.name)
            var title = "\(stream.status.rawValue) \(JournalText.stream(id, stream.request.name)) "
            title += "audio=\(stream.description?.audioCodec ?? "none") "
            title += "video=\(stream.description?.videoCodec ?? "none")"
            title += " ice=\(stream.iceIsUp) since=\(BugReport.seconds(context.timers.now - stream.begun))"
            out.append(
                BugReport.Stream(
                    title: title, peer: stream.peer, publisher: publisher, statistics: await counters(stream.peer),
                    clientMetrics: clientMetrics[id]?.lines ?? []))
        }
        return out
    }

    private func counters(_ peer: PeerID) async -> PeerStatistics? {
        await withDeadline(context.timers, context.configuration.mediaTimeout) { [media = context.media] in
            await media.statistics(peer: peer)
        } ?? nil
    }

    /// Watches the streams and their publishers for a moment. The packets are those that the media side holds anyway:
    /// nobody records anything for this.
    private func reportedPackets(_ streams: [BugReport.Stream]) async -> [BugReport.Packets] {
        guard context.capturePlaces.take() else {
            return [BugReport.Packets(title: "no stream: too many reports look at packets now")]
        }
        defer { context.capturePlaces.giveBack() }
        var watched = streams.map { BugReport.Packets(title: $0.title, before: $0.statistics) }
        var peers = streams.map(\.peer)
        for stream in streams {
            guard let publisher = stream.publisher, !peers.contains(publisher) else { continue }
            peers.append(publisher)
            watched.append(
                BugReport.Packets(title: "the publisher of \(stream.title)", before: await counters(publisher)))
        }
        _ = await context.timers.sleep(until: context.timers.now + context.configuration.captureTime)
        for (index, peer) in peers.enumerated() {
            watched[index].after = await counters(peer)
            watched[index].capture =
                await withDeadline(context.timers, context.configuration.mediaTimeout) { [media = context.media] in
                    await media.capture(peer: peer, packets: Self.packetsPerTrack)
                } ?? nil
        }
        return watched
    }
}
