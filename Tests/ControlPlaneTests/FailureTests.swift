import ControlPlane
import TestSupport
import Testing

@Suite("Failures and their texts", .timeLimit(.minutes(4)))
struct FailureTests {
    @Test func aLiveNameCannotBePublishedAgain() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            let bob = try await plant.client()
            try await ann.publish("a")
            await bob.session.publish(bob.request("b"))
            try await bob.expect("b", .failed, "Stream name is already in use")
            await ann.session.publish(ann.request("c"))
            try await ann.expect("c", .failed, "Stream name is already in use")
            #expect(await plant.plane.isAvailable("cam"))
            #expect(plant.rejections("nameInUse") == 2)
        }
    }

    @Test func playingWhatIsNotThereOrNotReady() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            await ann.session.play(ann.request("a", "nothing"))
            let missing = try await ann.status()
            #expect(missing.status == .failed && missing.info == "Stream not found" && missing.code == .notFound)
            _ = try await ann.beginPublish("b")
            await ann.session.play(ann.request("c"))
            try await ann.expect("c", .failed, "Publish stream is not ready")
        }
    }

    @Test func mediaSessionIdsAreNeededAndUnique() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            let bob = try await plant.client()
            await ann.session.publish(ann.request(""))
            try await ann.expect("", .failed, "MediaSessionId is null")
            await ann.session.play(ann.request(""))
            try await ann.expect("", .failed, "MediaSessionId is null")
            try await ann.publish("a")
            await ann.session.publish(ann.request("a", "other"))
            try await ann.expect("a", .failed, "MediaSessionId is already in use")
            await ann.session.play(ann.request("a"))
            try await ann.expect("a", .failed, "MediaSessionId is already in use")
            await bob.session.play(bob.request("a"))
            try await bob.expect("a", .failed, "MediaSessionId is already in use")
            await bob.session.stop(mediaSessionId: "a")
            #expect(await plant.plane.isAvailable("cam"), "a session cannot stop another's stream")
            await ann.session.stop(mediaSessionId: "a")
            try await ann.expect("a", .unpublished, "Stopped by user")
        }
    }

    static let mediaErrors: [(MediaError, String, StatusCode)] = [
        (.malformedSDP("x"), "Failed to add stream to proxy", .badRequest),
        (.noCommonCodecs, "No common codecs", .notAcceptable),
        (.noCapacity, "Failed to add stream to proxy", .unavailable),
        (.streamNotReady, "Publish stream is not ready", .unavailable),
        (.streamNotFound, "Stream not found", .notFound),
        (.internal("x"), "Failed to add stream to proxy", .internalError),
    ]

    @Test(arguments: mediaErrors)
    func whatTheMediaSideRefusesHasItsText(error: MediaError, info: String, code: StatusCode) async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            plant.media.script("cam", .fail(error))
            await ann.session.publish(ann.request("a"))
            let publishing = try await ann.status()
            #expect(publishing.status == .failed && publishing.info == info && publishing.code == code)
            plant.media.script("cam", .answer(FakeMedia.both))
            _ = try await plant.media.nextCall()
            try await ann.publish("b")
            plant.media.script("cam", .fail(error))
            await ann.session.play(ann.request("c"))
            let playing = try await ann.status()
            #expect(playing.status == .failed && playing.info == info && playing.code == code)
        }
    }

    static let failures: [(MediaFailure, String)] = [
        (.iceTimeout, "Failed by ICE timeout"), (.iceError, "Failed by ICE error"),
        (.iceKeepAlive, "Failed by ICE keep alive"), (.dtlsError, "Failed by DTLS error"),
        (.dtlsFingerprint, "Failed by DTLS fingerprint error"), (.rtpActivity, "Failed by RTP activity"),
        (.error, "Failed by error"),
    ]

    @Test(arguments: failures)
    func aMediaFailureEndsALiveStreamWithItsText(failure: MediaFailure, info: String) async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            let publisher = try await ann.publish("a")
            let player = try await ann.play("b")
            plant.media.send(.failed(player, failure))
            try await ann.expect("b", .failed, info)
            #expect(await plant.plane.isAvailable("cam"))
            try await ann.play("c")
            plant.media.send(.failed(publisher, failure))
            plant.media.send(.failed(publisher, .error))
            try await ann.expect("a", .failed, info)
            try await ann.expect("c", .failed, "Stopped by publisher stop")
            try await ann.publish("a")
        }
    }

    @Test func checksThatNeverCameAreATimeoutNotALoss() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            let first = try await ann.beginPublish("a")
            plant.media.send(.failed(first, .iceKeepAlive))
            try await ann.expect("a", .failed, "Failed by ICE timeout")
            let second = try await ann.beginPublish("b")
            plant.media.send(.iceConnected(second))
            plant.media.send(.failed(second, .iceKeepAlive))
            try await ann.expect("b", .failed, "Failed by ICE keep alive")
        }
    }

    @Test func withoutConnectivityAStreamFailsInTime() async throws {
        try await withPlant(ControlConfiguration(iceTimeout: .seconds(20))) { plant in
            let ann = try await plant.client()
            let live = try await ann.publish("live", "live")
            let publisher = try await ann.beginPublish("a")
            plant.clock.advance(by: .seconds(20))
            try await ann.expect("a", .failed, "Failed by ICE timeout")
            try await plant.media.waitUntilClosed(publisher)
            let player = try await ann.beginPlay("b", "live")
            plant.clock.advance(by: .seconds(20))
            try await ann.expect("b", .failed, "Failed by ICE timeout")
            try await plant.media.waitUntilClosed(player)
            #expect(plant.media.state.value.open == [live])
            #expect(
                plant.count("weir_control_failures_total", [("kind", "play"), ("reason", "iceTimeout")]) == 1)
        }
    }

    @Test func aHandshakeThatDoesNotEndIsADTLSError() async throws {
        let configuration = ControlConfiguration(iceTimeout: .seconds(20), dtlsTimeout: .seconds(30))
        try await withPlant(configuration) { plant in
            let ann = try await plant.client()
            let peer = try await ann.beginPublish("a")
            plant.media.send(.iceConnected(peer))
            try await plant.clock.sleeper(until: .seconds(30))
            plant.clock.advance(by: .seconds(20))
            plant.clock.advance(by: .seconds(10))
            try await ann.expect("a", .failed, "Failed by DTLS error")
        }
    }

    @Test func aMediaSideThatDoesNotAnswerIsGivenUp() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            let latch = Latch()
            plant.media.script("cam", .hold(latch))
            await ann.session.publish(ann.request("a"))
            let peer = try await plant.media.nextCall().peer
            plant.clock.advance(by: .seconds(5))
            try await ann.expect("a", .failed, "Failed to add stream to proxy")
            latch.open()
            // The late peer is freed when it comes to be.
            try await plant.media.state.wait { $0.closed.contains(peer) && $0.open.isEmpty }
        }
    }

    @Test func aClosedTransportWaitsForTheStopMessage() async throws {
        try await withPlant(ControlConfiguration(transportCloseGrace: .seconds(2))) { plant in
            let ann = try await plant.client()
            let publisher = try await ann.publish("a")
            let player = try await ann.play("b")
            plant.media.send(.failed(player, .transportClosed))
            plant.media.send(.failed(publisher, .transportClosed))
            plant.media.send(.videoSize(publisher, width: 2, height: 2))
            _ = await ann.next()
            plant.clock.advance(by: .seconds(1))
            await ann.session.stop(mediaSessionId: "b")
            try await ann.expect("b", .stopped, "Stopped by user")
            plant.clock.advance(by: .seconds(1))
            try await ann.expect("a", .failed, "Failed by DTLS error")
        }
    }

    static let badNames = [
        "", ".", "..", "a/b", "a\\b", "what?", "x#y", "tab\there", "nul\0", "\u{2028}", "\u{85}",
        String(repeating: "n", count: 256), String(repeating: "ж", count: 128),
    ]

    @Test(arguments: badNames)
    func badNamesAreExplained(name: String) async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            for published in [true, false] {
                let request = ann.request("a", name)
                published ? await ann.session.publish(request) : await ann.session.play(request)
                let status = try await ann.status()
                #expect(status.status == .failed && status.code == .badRequest)
                #expect(status.info?.hasPrefix("Bad stream name: ") == true)
            }
        }
    }

    @Test(arguments: ["cam 1", "Ünïcode-Ж", "a.b", "...", "x:y", "a&b=c%20", String(repeating: "n", count: 255)])
    func unusualButSafeNamesWork(name: String) async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            try await ann.publish("a", name)
            try await ann.play("b", name)
        }
    }

    @Test(arguments: ["rtsp://127.0.0.1/x", "vod://file.mp4", "nothing://x"])
    func urlsNeedAnAgent(name: String) async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            await ann.session.play(ann.request("a", name))
            try await ann.expect("a", .failed, "Failed to get agent storage")
        }
    }

    @Test(arguments: ["WSPlayer", "MSE", "Flash"])
    func otherMediaProvidersAreRefused(provider: String) async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            try await ann.publish("live")
            var request = ann.request("a")
            request.mediaProvider = provider
            await ann.session.play(request)
            try await ann.expect("a", .failed, "No common codecs")
            request.mediaProvider = "WebRTC"
            await ann.session.play(request)
            try await ann.expectAnswer("a")
        }
    }

    @Test func aBackendRefusesStreamsInItsOwnWords() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            plant.hooks.state.update { $0.publish = .refuse(code: 403, reason: "Not today") }
            await ann.session.publish(ann.request("a"))
            let refused = try await ann.status()
            #expect(refused.status == .failed && refused.info == "Not today" && refused.code == .forbidden)
            plant.hooks.state.update {
                $0.publish = .allow
                $0.play = .refuse(code: 402, reason: "Pay first")
            }
            try await ann.publish("b")
            await ann.session.play(ann.request("c"))
            let unpaid = try await ann.status()
            #expect(unpaid.info == "Pay first" && unpaid.code?.rawValue == 402)
            #expect(
                plant.count("weir_control_failures_total", [("kind", "play"), ("reason", "refusedByBackend")]) == 1)
        }
    }

    @Test func aBackendThatDoesNotAnswerIsARefusal() async throws {
        try await withPlant(ControlConfiguration(hookTimeout: .seconds(3))) { plant in
            let ann = try await plant.client()
            let latch = Latch()
            plant.hooks.state.update { $0.hold = latch }
            await ann.session.publish(ann.request("a"))
            try await plant.hooks.state.wait { $0.asked == 2 }
            try await plant.clock.sleeper(until: .seconds(3))
            plant.clock.advance(by: .seconds(3))
            try await ann.expect("a", .failed, "Backend did not answer in time")
            latch.open()
            #expect(plant.media.state.value.calls.isEmpty)
            #expect(plant.count("weir_control_hook_timeouts_total") == 1)
        }
    }
}
