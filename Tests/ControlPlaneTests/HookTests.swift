import ControlPlane
import TestSupport
import Testing

/// What the control plane asks and tells the backend, and what it makes of the answers.
@Suite("The backend", .timeLimit(.minutes(4)))
struct HookTests {
    @Test func theNameIsClaimedAsTheBackendGivesIt() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            var real = ann.request("a", "real")
            real.custom = JSONText("7")
            plant.hooks.state.update { [real] in $0.publish = .change(real) }
            await ann.session.publish(ann.request("a", "alias/with what no name may have"))
            #expect(try await plant.media.nextCall().stream == "real")
            try await ann.expectAnswer("a")
            #expect(await plant.plane.streams().map(\.name) == ["real"])
            plant.hooks.state.update { $0.publish = .allow }
            await ann.session.publish(ann.request("b", "real"))
            try await ann.expect("b", .failed, "Stream name is already in use")
            await ann.session.stop(mediaSessionId: "a")
            let status = try await ann.status()
            #expect(status.name == "real" && status.custom == JSONText("7"))
        }
    }

    @Test func aStreamIsAskedAboutBeforeItIsLookedFor() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            await ann.session.play(ann.request("a", "nothing"))
            try await ann.expect("a", .failed, "Stream not found")
            #expect(plant.hooks.state.value.calls == ["playStream"])
            #expect(plant.rejections("streamNotFound") == 1)
        }
    }

    @Test func stopsAreToldBeforeTheirStatus() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            try await ann.publish("a")
            try await ann.play("b")
            await ann.session.pause(mediaSessionId: "b")
            await ann.session.stop(mediaSessionId: "b")
            await ann.session.stop(mediaSessionId: "b")
            await ann.session.stop(mediaSessionId: "a")
            #expect(
                Array(plant.hooks.state.value.heard.dropFirst(5)) == [
                    "b pauseStream", "b PAUSED", "b stopStream", "b STOPPED", "a unPublishStream", "a UNPUBLISHED",
                ])
        }
    }

    @Test(arguments: [true, false])
    func theBackendHearsOfAPlayerOnlyAfterItsPublisher(sameApplication: Bool) async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            let request = ConnectRequest(appKey: sameApplication ? "defaultApp" : "x", remoteAddress: "192.0.2.2:1")
            let bob = Client(try await plant.plane.openSession(request), plant)
            try await ann.publish("a")
            try await bob.play("b")
            await ann.session.stop(mediaSessionId: "a")
            try await bob.expect("b", .failed, "Stopped by publisher stop")
            let told = plant.hooks.state.value.told
            let publisher = try #require(told.last { $0.text == "a UNPUBLISHED" })
            let player = try #require(told.last { $0.text == "b FAILED" })
            #expect((player.after === publisher.gate) == sameApplication)
            #expect(publisher.after == nil)
        }
    }

    @Test func aStreamEventIsToldOnceForItsSenderAndOncePerPlayer() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            let bob = try await plant.client()
            try await ann.publish("a")
            try await bob.play("b")
            try await bob.play("c")
            await ann.session.sendStreamEvent(mediaSessionId: "a", type: "audioMuted", payload: nil)
            let told = plant.hooks.state.value.told.suffix(3)
            #expect(told.first?.text == "a sendStreamEvent audioMuted" && told.first?.session == ann.session.id)
            #expect(Set(told.dropFirst().map(\.text)) == ["b StreamEvent audioMuted", "c StreamEvent audioMuted"])
            #expect(told.dropFirst().allSatisfy { $0.session == bob.session.id })
        }
    }

    @Test func theLossOfAWHIPClientIsAStop() async throws {
        try await withPlant { plant in
            let ann = try await plant.client(.whip)
            let peer = try await ann.publish("a")
            plant.media.send(.failed(peer, .iceKeepAlive))
            try await ann.expect("a", .failed, "Failed by ICE keep alive")
            let bob = try await plant.client(.whep)
            await bob.session.play(bob.request("b"))
            try await bob.expect("b", .failed, "Stream not found")
            #expect(
                plant.hooks.state.value.heard == [
                    "connected", "a PENDING", "a PUBLISHING", "a unPublishStream", "a FAILED", "connected", "b FAILED",
                ])
        }
    }

    @Test func whatTheBackendChangesAtConnectGoesWithTheSession() async throws {
        try await withPlant { plant in
            plant.hooks.state.update { $0.custom = JSONText(#"{"user":"known"}"#) }
            let ann = try await plant.client()
            #expect(ann.session.facts.custom == JSONText(#"{"user":"known"}"#))
            #expect(ann.session.id.hasPrefix("/192.0.2.1:5000/-"), "\(ann.session.id)")
        }
    }

    @Test func aKeepAliveEndsAStream() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            try await ann.publish("a")
            ann.session.endByKeepAlive(mediaSessionId: "a")
            let status = try await ann.status()
            #expect(status.status == .failed && status.info == "Terminated by keep-alive" && status.code == .forbidden)
        }
    }

    @Test func dataIsSettledWhateverTheBackendSays() async throws {
        try await withPlant(ControlConfiguration(hookTimeout: .seconds(3), operationLimit: 2)) { plant in
            let ann = try await plant.client()
            await ann.session.sendData(operationId: "1", payload: JSONText("1"))
            #expect(await ann.next() == .dataStatus(operationId: "1", accepted: true, info: nil))
            plant.hooks.state.update { $0.other = .refuse(code: 403, reason: "Forbidden") }
            await ann.session.sendData(operationId: "2", payload: JSONText("1"))
            #expect(await ann.next() == .dataStatus(operationId: "2", accepted: false, info: "Forbidden"))
            let latch = Latch()
            plant.hooks.state.update { $0.hold = latch }
            await ann.session.sendData(operationId: "3", payload: JSONText("1"))
            await ann.session.sendData(operationId: "4", payload: JSONText("1"))
            await ann.session.sendData(operationId: "5", payload: JSONText("1"))
            #expect(
                await ann.next()
                    == .dataStatus(operationId: "5", accepted: false, info: "Too many requests are waiting"))
            latch.open()
            var settled: Set<String> = []
            for _ in 0..<2 {
                guard case .dataStatus(let id, false, "Forbidden")? = await ann.next() else { continue }
                settled.insert(id)
            }
            #expect(settled == ["3", "4"])
            #expect(
                Set(plant.hooks.state.value.heard.dropFirst()) == [
                    "1 ACCEPTED", "2 FAILED", "3 FAILED", "4 FAILED", "5 FAILED",
                ])
        }
    }

    @Test func dataForTheClientArrivesInOrder() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            for index in 0..<5 { ann.session.deliverData(operationId: "\(index)", payload: JSONText("\(index)")) }
            ann.session.reportError("something")
            for index in 0..<5 {
                #expect(await ann.next() == .data(operationId: "\(index)", payload: JSONText("\(index)")))
            }
            #expect(await ann.next() == .error(info: "something"))
        }
    }

    @Test func reportsLogsAndDebuggingAreTold() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            await ann.session.submitBugReport(text: "no picture", type: "other")
            #expect(await ann.next() == .bugReport(fileName: "report-1"))
            await ann.session.pushLogs("line")
            await ann.session.debug(command: "start")
            #expect(await ann.next() == .debug(started: true, file: nil))
            await ann.session.snapshot(mediaSessionId: "s", name: "cam")
            guard case .streamEvent("s", "snapshotFailed", _)? = await ann.next() else {
                Issue.record("the snapshot is not answered")
                return
            }
            #expect(
                plant.hooks.state.value.heard == [
                    "connected", "BugReportStatusEvent", "pushLogs", "sessionDebug", "SessionDebugStatusEvent",
                    "s StreamEvent snapshotFailed",
                ])
            #expect(plant.hooks.state.value.calls == ["sendBugReport", "snapshot"])
        }
    }

    @Test func everySessionsHooksAreFinishedOnce() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            await ann.session.close(.clientClosed)
            await ann.session.close(.clientClosed)
            #expect(plant.hooks.state.value.finished == 1)
            let latch = Latch()
            plant.hooks.state.update { $0.hold = latch }
            let plane = plant.plane
            let opening = Task { try await plane.openSession(ConnectRequest(remoteAddress: "192.0.2.1:1")) }
            try await plant.clock.sleeper(until: .seconds(5))
            plant.clock.advance(by: .seconds(5))
            await #expect(throws: SignallingError.backendTimeout) { _ = try await opening.value }
            latch.open()
            // The answer that nobody waited for.
            try await plant.hooks.state.wait { $0.finished == 2 }
            #expect(plant.hooks.state.value.heard.last == "failed: Backend did not answer in time")
        }
    }
}
