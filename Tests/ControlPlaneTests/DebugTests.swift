import ControlPlane
import TestSupport
import Testing

/// Sessions that are debugged, what clients push of their logs, and what they measure.
@Suite("Debugging", .timeLimit(.minutes(4)))
struct DebugTests {
    @Test func aDebuggedSessionHasALogOfWhatHappens() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            await ann.session.available(mediaSessionId: "before", name: "x")
            _ = await ann.next()
            await ann.session.debug(command: "start")
            #expect(await ann.next() == .debug(started: true, file: nil))
            try await ann.publish("a")
            await ann.session.sendStreamEvent(mediaSessionId: "a", type: "audioMuted", payload: nil)
            await ann.session.pushLogs("line of the client, token=SECRET\n")
            await ann.session.debug(command: "start")
            #expect(await ann.next() == .debug(started: true, file: nil))
            await ann.session.debug(command: "stop")
            #expect(await ann.next() == .debug(started: false, file: "session-1"))
            await ann.session.available(mediaSessionId: "after", name: "x")
            let logs = plant.store.state.value.logs
            #expect(logs.count == 1)
            let log = try #require(logs.first).state.value
            #expect(log.closes == 1)
            let text = log.lines.joined(separator: "\n")
            for part in [
                "earlier received availableStream mediaSessionId=before", "received publishStream mediaSessionId=a",
                "    OFFER", "sent setRemoteSDP", "    ANSWER", "backend asked publishStream",
                "backend told StreamStatusEvent PUBLISHING", "state mediaSessionId=a: ICE and DTLS are up",
                "client line of the client, token=***",
            ] {
                #expect(text.contains(part), "\(part) is missing in \(text)")
            }
            #expect(!text.contains("mediaSessionId=after"))
            #expect(
                plant.hooks.state.value.heard.suffix(2) == ["sessionDebug", "SessionDebugStatusEvent"])
        }
    }

    @Test func theEndOfTheSessionEndsItsLog() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            await ann.session.debug(command: "start")
            #expect(await ann.next() == .debug(started: true, file: nil))
            try await ann.publish("a")
            await ann.session.close(.connectionLost)
            let log = try #require(plant.store.state.value.logs.first)
            try await log.state.wait { $0.closes == 1 }
            let lines = log.state.value.lines
            #expect(lines.contains("state session ends: connection lost"))
            #expect(lines.contains { $0.hasPrefix("sent status UNPUBLISHED") })
        }
    }

    @Test func whatCannotBeLoggedIsAnError() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            plant.store.state.update { $0.error = .tooManyLogs }
            await ann.session.debug(command: "start")
            #expect(
                await ann.next()
                    == .error(info: "Session debug: Not kept: too many sessions are being debugged"))
            await ann.session.debug(command: "stop")
            #expect(await ann.next() == .debug(started: false, file: nil))
        }
    }

    @Test func aSessionThatEndsWhileItsLogIsMadeLeavesNoneOpen() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            let latch = Latch()
            plant.store.state.update { $0.hold = latch }
            let session = ann.session
            let starting = Task { await session.debug(command: "start") }
            try await plant.hooks.state.wait { $0.heard.contains("sessionDebug") }
            await ann.session.close(.clientClosed)
            latch.open()
            await starting.value
            let log = try #require(plant.store.state.value.logs.first)
            try await log.state.wait { $0.closes == 1 }
        }
    }

    @Test func whatAClientPushesHasALogOfItsOwn() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            await ann.session.pushLogs("one\n")
            await ann.session.pushLogs("two\n")
            let log = try #require(plant.store.state.value.logs.first)
            #expect(log.fileName == "client-1" && plant.store.state.value.logs.count == 1)
            #expect(log.state.value.lines == ["client one\n", "client two\n"])
            await ann.session.close(.clientClosed)
            try await log.state.wait { $0.closes == 1 }
            #expect(plant.hooks.state.value.heard.filter { $0 == "pushLogs" }.count == 2)
        }
    }

    @Test func aFullStoreIsAskedOnceForAClientsLog() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            plant.store.state.update { $0.error = .folderFull }
            await ann.session.pushLogs("one\n")
            plant.store.state.update { $0.error = nil }
            await ann.session.pushLogs("two\n")
            #expect(plant.store.state.value.logs.isEmpty)
        }
    }

    @Test func theClientsFiguresAreInItsReport() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            try await ann.publish("a")
            await ann.session.describeMetrics(mediaSessionId: "a", headers: "outbound-rtp.1.nackCount,x.2.pliCount")
            await ann.session.takeMetrics(mediaSessionId: "a", samples: ["1;2", "3;", ";;;", "4"])
            await ann.session.describeMetrics(mediaSessionId: "unknown", headers: "a")
            await ann.session.submitBugReport(text: "", type: "")
            _ = await ann.next()
            let report = try #require(plant.store.state.value.reports.first)
            #expect(report.contains("client outbound-rtp.1.nackCount=3\n    client x.2.pliCount=2\n"))
            await ann.session.describeMetrics(
                mediaSessionId: "a", headers: (0...1_024).map(String.init).joined(separator: ","))
            await ann.session.takeMetrics(mediaSessionId: "a", samples: ["5;6"])
            await ann.session.submitBugReport(text: "", type: "")
            _ = await ann.next()
            #expect(plant.store.state.value.reports.last?.contains("client outbound") == false)
        }
    }
}
