import ControlPlane
import TestSupport
import Testing

@Suite("Life of streams", .timeLimit(.minutes(4)))
struct LifecycleTests {
    @Test func aPublisherGoesFromItsAnswerToPublishing() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            plant.media.script(
                "cam", .answer(MediaDescription(sdp: "ANSWER", hasAudio: true, hasVideo: false, audioCodec: "opus")))
            let peer = try await ann.beginPublish("a")
            #expect(await !plant.plane.isAvailable("cam"))
            plant.media.send(.connected(peer))
            let status = try await ann.status()
            #expect(status.status == .publishing)
            #expect(status.published && status.hasAudio && !status.hasVideo, "media is that of the answer")
            #expect(await plant.plane.isAvailable("cam"))
            #expect(plant.count("weir_control_setups_total", [("kind", "publish")]) == 1)
        }
    }

    @Test func aConnectionThatIsUpBeforeItsAnswerIsTakenUpLater() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            let latch = Latch()
            plant.media.script("cam", .hold(latch))
            await ann.session.publish(ann.request("a"))
            let peer = try await plant.media.nextCall().peer
            plant.media.send(.connected(peer))
            // Events are routed in order: once another stream is live, the first event was handled.
            try await ann.publish("b", "other")
            latch.open()
            try await ann.expectAnswer("a")
            try await ann.expect("a", .publishing)
        }
    }

    @Test func wishesReachTheMediaSide() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            var request = ann.request("a")
            request.transport = .tcp
            request.minBitrate = 100
            request.maxBitrate = 900
            request.cvoExtension = true
            await ann.session.publish(request)
            let options = try await plant.media.nextCall().options
            #expect(options == MediaOptions(transport: .tcp, minBitrate: 100, maxBitrate: 900, cvoExtension: true))
        }
    }

    @Test func stoppingThePublisherEndsItsPlayersAndFreesTheName() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            let bob = try await plant.client()
            let publisher = try await ann.publish("a")
            let player = try await bob.play("b")
            await ann.session.stop(mediaSessionId: "a")
            try await ann.expect("a", .unpublished, "Stopped by user")
            try await bob.expect("b", .failed, "Stopped by publisher stop")
            try await plant.media.waitUntilClosed(publisher)
            try await plant.media.waitUntilClosed(player)
            try await bob.publish("a")
        }
    }

    @Test func stoppingAPlayerLeavesThePublisherAlone() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            try await ann.publish("a")
            try await ann.play("b")
            await ann.session.stop(mediaSessionId: "b")
            try await ann.expect("b", .stopped, "Stopped by user")
            #expect(await plant.plane.isAvailable("cam"))
            try await ann.play("b")
        }
    }

    @Test func aStreamHasManyPlayersInOneAndInManySessions() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            let publisher = try await ann.publish("a")
            try await ann.play("own1")
            try await ann.play("own2")
            var others: [Client] = []
            for index in 0..<20 {
                let other = try await plant.client()
                await other.session.play(other.request("p\(index)"))
                let call = try await plant.media.nextCall()
                #expect(call.publisher == publisher)
                try await other.expectAnswer("p\(index)")
                plant.media.send(.connected(call.peer))
                try await other.expect("p\(index)", .playing)
                others.append(other)
            }
            #expect(await plant.plane.streams().first?.players == 22)
            await ann.session.stop(mediaSessionId: "a")
            try await ann.expect("a", .unpublished, "Stopped by user")
            for (index, other) in others.enumerated() {
                try await other.expect("p\(index)", .failed, "Stopped by publisher stop")
            }
            let own = [try await ann.status(), try await ann.status()]
            #expect(Set(own.map(\.mediaSessionId)) == ["own1", "own2"])
            #expect(own.allSatisfy { $0.status == .failed && $0.info == "Stopped by publisher stop" })
        }
    }

    @Test func oneSessionHoldsSeveralStreams() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            try await ann.publish("a", "one")
            try await ann.publish("b", "two")
            try await ann.play("c", "one")
            await ann.session.stop(mediaSessionId: "a")
            try await ann.expect("a", .unpublished, "Stopped by user")
            try await ann.expect("c", .failed, "Stopped by publisher stop")
            #expect(await plant.plane.streams().map(\.name) == ["two"])
        }
    }

    @Test(arguments: [true, false])
    func stopWhileTheBackendIsAsked(published: Bool) async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            try await ann.publish("live", "live")
            let latch = Latch()
            plant.hooks.state.update { $0.hold = latch }
            let asked = plant.hooks.state.value.asked
            if published {
                await ann.session.publish(ann.request("x"))
            } else {
                await ann.session.play(ann.request("x", "live"))
            }
            try await plant.hooks.state.wait { $0.asked == asked + 1 }
            await ann.session.stop(mediaSessionId: "x")
            try await ann.expect("x", published ? .unpublished : .stopped, "Stopped by user")
            latch.open()
            plant.hooks.state.update { $0.hold = nil }
            #expect(plant.media.state.value.calls.count == 1, "the media side is not asked any more")
            try await ann.publish("x")
        }
    }

    @Test(arguments: [true, false])
    func stopWhileTheMediaSideAnswers(published: Bool) async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            try await ann.publish("live", "live")
            let latch = Latch()
            plant.media.script(published ? "cam" : "live", .hold(latch))
            if published {
                await ann.session.publish(ann.request("x"))
            } else {
                await ann.session.play(ann.request("x", "live"))
            }
            let peer = try await plant.media.nextCall().peer
            await ann.session.stop(mediaSessionId: "x")
            try await ann.expect("x", published ? .unpublished : .stopped, "Stopped by user")
            latch.open()
            try await plant.media.state.wait { $0.closed.contains(peer) && $0.open.count == 1 }
            await ann.session.close(.clientClosed)
            let late = await ann.rest().filter { if case .remoteSDP = $0 { true } else { false } }
            #expect(late.isEmpty, "no answer after the end")
        }
    }

    @Test(arguments: [true, false])
    func stopWhileConnecting(published: Bool) async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            try await ann.publish("live", "live")
            let peer = published ? try await ann.beginPublish("x") : try await ann.beginPlay("x", "live")
            await ann.session.stop(mediaSessionId: "x")
            try await ann.expect("x", published ? .unpublished : .stopped, "Stopped by user")
            try await plant.media.waitUntilClosed(peer)
            plant.clock.advance(by: .seconds(60))
            plant.media.send(.connected(peer))
            plant.media.send(.failed(peer, .iceTimeout))
            try await ann.publish("y", "y")
        }
    }

    @Test func afterTheTerminalStatusNothingFollows() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            let peer = try await ann.publish("a")
            await ann.session.stop(mediaSessionId: "a")
            await ann.session.stop(mediaSessionId: "a")
            for event: MediaEvent in [
                .connected(peer), .failed(peer, .dtlsError), .videoSize(peer, width: 1, height: 1), .firstMedia(peer),
                .iceConnected(peer),
            ] {
                plant.media.send(event)
            }
            await ann.session.sendStreamEvent(mediaSessionId: "a", type: "audioMuted", payload: nil)
            await ann.session.pause(mediaSessionId: "a")
            try await ann.expect("a", .unpublished, "Stopped by user")
            try await ann.publish("b")
            #expect(plant.count("weir_control_late_media_events_total") == 5)
        }
    }

    @Test func anIdMayBeUsedAgainAfterItsStreamEnded() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            let old = try await ann.publish("a")
            await ann.session.stop(mediaSessionId: "a")
            try await ann.expect("a", .unpublished, "Stopped by user")
            let new = try await ann.beginPublish("a")
            #expect(old != new)
            plant.media.send(.failed(old, .error))
            plant.media.send(.connected(new))
            try await ann.expect("a", .publishing)
        }
    }

    @Test func aPlayerPausesAndResumesUnderTheSameId() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            let publisher = try await ann.publish("a")
            let player = try await ann.play("b")
            await ann.session.pause(mediaSessionId: "a")
            await ann.session.pause(mediaSessionId: "b")
            try await ann.expect("b", .paused)
            #expect(plant.media.state.value.paused == [player: true])
            await ann.session.play(ann.request("b"))
            try await ann.expect("b", .playing)
            try await plant.media.state.wait { $0.paused == [player: false] }
            await ann.session.pause(mediaSessionId: "b")
            try await ann.expect("b", .paused)
            plant.media.send(.failed(publisher, .rtpActivity))
            try await ann.expect("a", .failed, "Failed by RTP activity")
            try await ann.expect("b", .failed, "Stopped by publisher stop")
        }
    }

    @Test func iceRestartGoesToTheStreamsPeer() async throws {
        try await withPlant { plant in
            let ann = try await plant.client(.whip)
            try await ann.publish("a")
            let ours = try await ann.session.restartICE(mediaSessionId: "a", ufrag: "u", password: "p")
            #expect(ours.ufrag == "new-u" && ours.password == "new-p")
            await #expect(throws: MediaError.streamNotFound) {
                _ = try await ann.session.restartICE(mediaSessionId: "b", ufrag: "u", password: "p")
            }
        }
    }

    @Test func theListOfStreamsShowsTheirFacts() async throws {
        try await withPlant { plant in
            let ann = try await plant.client(.whip)
            let peer = try await ann.publish("a", "zebra")
            _ = try await ann.beginPublish("b", "ant")
            plant.clock.advance(by: .seconds(3))
            plant.media.send(.videoSize(peer, width: 640, height: 360))
            try await ann.play("c", "zebra")
            let streams = await plant.plane.streams()
            #expect(streams.map(\.name) == ["ant", "zebra"])
            #expect(!streams[0].isLive && streams[0].uptime == .zero)
            let zebra = streams[1]
            #expect(zebra.isLive && zebra.uptime == .seconds(3) && zebra.players == 1 && zebra.kind == .whip)
            #expect(zebra.width == 640 && zebra.height == 360)
            #expect(zebra.audioCodec == "opus" && zebra.videoCodec == "VP8")
            #expect(zebra.sessionId == ann.session.id && zebra.mediaSessionId == "a")
        }
    }
}
