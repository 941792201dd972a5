import ControlPlane
import TestSupport
import Testing

/// Media that comes in another way than by WebRTC.
@Suite("Intakes", .timeLimit(.minutes(4)))
struct IntakeTests {
    final class FakeIntake: MediaIntakeSource {
        struct State: Sendable {
            var peers: [PeerID] = []
            var failure: MediaError?
        }

        let state = Watched(State())

        func open(peer: PeerID) async throws(MediaError) -> MediaDescription {
            let failure = state.update { state in
                state.peers.append(peer)
                return state.failure
            }
            if let failure { throw failure }
            return MediaDescription(sdp: "", hasAudio: true, hasVideo: true, audioCodec: "opus", videoCodec: "H264")
        }
    }

    private static func request(_ id: String, _ intake: FakeIntake, _ name: String = "cam") -> StreamRequest {
        StreamRequest(
            mediaSessionId: id, name: name, sdp: "", mediaProvider: "RTSP", intake: MediaIntake(intake))
    }

    private static func announce(_ client: Client, _ id: String, _ intake: FakeIntake) async throws -> PeerID {
        await client.session.publish(request(id, intake))
        let answer = await client.next()
        #expect(answer == .remoteSDP(mediaSessionId: id, sdp: ""))
        try await client.expect(id, .pending)
        return try #require(intake.state.value.peers.first)
    }

    @Test func `an intake is opened in place of an offer, and lives when it begins`() async throws {
        try await withPlant { plant in
            let camera = try await plant.client(.rtsp)
            let intake = FakeIntake()
            let peer = try await Self.announce(camera, "a", intake)
            #expect(plant.media.state.value.calls.isEmpty, "there is no offer to answer")
            #expect(await plant.plane.streams().map(\.isLive) == [false])
            let hasBegun = await camera.session.begin(mediaSessionId: "a")
            #expect(hasBegun)
            try await camera.expect("a", .publishing)
            let streams = await plant.plane.streams()
            #expect(streams.map(\.kind) == [.rtsp] && streams.map(\.isLive) == [true])
            #expect(streams.map(\.videoCodec) == ["H264"] && streams.map(\.isReordered) == [false])
            let ann = try await plant.client()
            try await ann.play("b")
            #expect(plant.media.state.value.calls.map(\.publisher) == [peer])
            // Named for operators as soon as it is known.
            plant.media.send(.reordered(peer, evidence: "it has B slices"))
            plant.media.send(.videoSize(peer, width: 640, height: 360))
            let resized = await ann.next()
            #expect(resized != nil)
            #expect(await plant.plane.streams().map(\.isReordered) == [true])
            await camera.session.close(.clientClosed)
            try await ann.expect("b", .failed, "Stopped by publisher stop")
            try await plant.media.state.wait { $0.closed.contains(peer) }
        }
    }

    @Test func `a name is claimed by one`() async throws {
        try await withPlant { plant in
            let (first, second) = (try await plant.client(.rtsp), try await plant.client(.rtsp))
            _ = try await Self.announce(first, "a", FakeIntake())
            let late = FakeIntake()
            await second.session.publish(Self.request("b", late))
            try await second.expect("b", .failed, "Stream name is already in use")
            #expect(late.state.value.peers.isEmpty)
        }
    }

    @Test func `what is announced and does not begin ends`() async throws {
        try await withPlant { plant in
            let camera = try await plant.client(.rtsp)
            let peer = try await Self.announce(camera, "a", FakeIntake())
            let limit = ControlConfiguration().iceTimeout
            try await plant.clock.sleeper(until: limit)
            plant.clock.advance(by: limit)
            try await camera.expect("a", .failed, "Failed by RTP activity")
            try await plant.media.state.wait { $0.closed.contains(peer) }
            let hasBegun = await camera.session.begin(mediaSessionId: "a")
            #expect(!hasBegun)
        }
    }

    @Test func `an intake that cannot be opened frees the name`() async throws {
        try await withPlant { plant in
            let camera = try await plant.client(.rtsp)
            let intake = FakeIntake()
            intake.state.update { $0.failure = .noCapacity }
            await camera.session.publish(Self.request("a", intake))
            let status = try await camera.status()
            #expect(status.status == .failed && status.code == .unavailable)
            _ = try await Self.announce(camera, "b", FakeIntake())
        }
    }

    @Test(arguments: [
        (MediaError.transcodingDisabled, "Transcoding required, but disabled", StatusCode.notAcceptable),
        (.noTranscoders, "No available transcoders", .unavailable),
    ])
    func `players are told that a transcode is needed`(error: MediaError, info: String, code: StatusCode) async throws {
        try await withPlant { plant in
            let camera = try await plant.client(.rtsp)
            _ = try await Self.announce(camera, "a", FakeIntake())
            _ = await camera.session.begin(mediaSessionId: "a")
            try await camera.expect("a", .publishing)
            let ann = try await plant.client()
            plant.media.script("cam", .fail(error))
            await ann.session.play(ann.request("b"))
            let status = try await ann.status()
            #expect(status.status == .failed && status.info == info && status.code == code)
        }
    }
}
