import ControlPlane
import Testing

@Suite("Stream events, rates, availability", .timeLimit(.minutes(4)))
struct StreamEventTests {
    @Test func muteReachesThePlayersAndIsKeptForLaterOnes() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            let bob = try await plant.client()
            let publisher = try await ann.beginPublish("a")
            await ann.session.sendStreamEvent(mediaSessionId: "a", type: "videoMuted", payload: nil)
            plant.media.send(.connected(publisher))
            try await ann.expect("a", .publishing)
            let early = try await bob.beginPlay("b")
            plant.media.send(.connected(early))
            let playing = try await bob.status()
            #expect(playing.status == .playing && playing.videoMuted && !playing.audioMuted)

            await ann.session.sendStreamEvent(mediaSessionId: "a", type: "audioMuted", payload: nil)
            #expect(await bob.next() == .streamEvent(mediaSessionId: "b", type: "audioMuted", payload: nil))
            await ann.session.sendStreamEvent(mediaSessionId: "a", type: "videoUnmuted", payload: nil)
            #expect(await bob.next() == .streamEvent(mediaSessionId: "b", type: "videoUnmuted", payload: nil))
            await bob.session.pause(mediaSessionId: "b")
            let paused = try await bob.status()
            #expect(paused.status == .paused && paused.audioMuted && !paused.videoMuted)
            await ann.session.stop(mediaSessionId: "a")
            let ended = try await bob.status()
            #expect(ended.status == .failed && ended.audioMuted, "every status of a player carries the state")
            try await ann.expect("a", .unpublished, "Stopped by user")

            try await ann.publish("a")
            let fresh = try await bob.beginPlay("b")
            plant.media.send(.connected(fresh))
            #expect(try await bob.status().audioMuted == false, "a new publisher is not muted")
        }
    }

    @Test func dataGoesToPlayersOfThatStreamOnly() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            let bob = try await plant.client()
            try await ann.publish("a")
            try await ann.publish("x", "other")
            try await bob.play("b")
            try await bob.play("c", "other")
            let payload = JSONText(#"{"count":23}"#)
            await ann.session.sendStreamEvent(mediaSessionId: "a", type: "data", payload: payload)
            #expect(await bob.next() == .streamEvent(mediaSessionId: "b", type: "data", payload: payload))
            await ann.session.sendStreamEvent(mediaSessionId: "x", type: "data", payload: nil)
            #expect(await bob.next() == .streamEvent(mediaSessionId: "c", type: "data", payload: nil))
        }
    }

    @Test func whatMustNotBeForwardedIsNot() async throws {
        try await withPlant(ControlConfiguration(eventPayloadLimit: 10)) { plant in
            let ann = try await plant.client()
            let bob = try await plant.client()
            try await ann.publish("a")
            try await bob.play("b")
            _ = try await ann.beginPublish("pending", "pending")
            for type in ["resize", "snapshotCompleted", "", "nonsense"] {
                await ann.session.sendStreamEvent(mediaSessionId: "a", type: type, payload: nil)
            }
            await bob.session.sendStreamEvent(mediaSessionId: "b", type: "audioMuted", payload: nil)
            await bob.session.sendStreamEvent(mediaSessionId: "a", type: "audioMuted", payload: nil)
            await ann.session.sendStreamEvent(mediaSessionId: "pending", type: "data", payload: nil)
            await ann.session.sendStreamEvent(mediaSessionId: "a", type: "data", payload: JSONText("12345678901"))
            await ann.session.sendStreamEvent(mediaSessionId: "a", type: "data", payload: JSONText("1234567890"))
            #expect(
                await bob.next() == .streamEvent(mediaSessionId: "b", type: "data", payload: JSONText("1234567890")))
            #expect(plant.rejections("streamEventTooLong") == 1)
        }
    }

    @Test func aPlayerStillConnectingGetsNoEvents() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            let bob = try await plant.client()
            try await ann.publish("a")
            let player = try await bob.beginPlay("b")
            await ann.session.sendStreamEvent(mediaSessionId: "a", type: "audioMuted", payload: nil)
            plant.media.send(.connected(player))
            let playing = try await bob.status()
            #expect(playing.status == .playing && playing.audioMuted)
        }
    }

    @Test func theSizeOfThePictureFollowsTheBitstream() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            let bob = try await plant.client()
            let publisher = try await ann.publish("a")
            try await bob.play("b")
            func resize(_ id: String, _ width: Int, _ height: Int) -> SessionEvent {
                .streamEvent(
                    mediaSessionId: id, type: "resize",
                    payload: JSONText("{\"streamerVideoWidth\":\(width),\"streamerVideoHeight\":\(height)}"))
            }
            for (width, height) in [(640, 360), (640, 360), (0, 5), (-1, 5), (1280, 720)] {
                plant.media.send(.videoSize(publisher, width: width, height: height))
            }
            #expect(await bob.next() == resize("b", 640, 360))
            #expect(await bob.next() == resize("b", 1280, 720))
            let late = try await bob.play("c")
            #expect(await bob.next() == resize("c", 1280, 720), "known before: told after PLAYING")
            plant.media.send(.videoSize(late, width: 9, height: 9))
            plant.media.send(.videoSize(publisher, width: 320, height: 180))
            let last = [await bob.next(), await bob.next()]
            #expect(last.contains(resize("b", 320, 180)) && last.contains(resize("c", 320, 180)))
        }
    }

    @Test func availabilityIsTold() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            await ann.session.available(mediaSessionId: "q", name: "cam")
            #expect(
                await ann.next() == .availability(mediaSessionId: "q", available: false, info: "Stream not found"))
            let peer = try await ann.beginPublish("a")
            await ann.session.available(mediaSessionId: "q", name: "cam")
            #expect(
                await ann.next()
                    == .availability(mediaSessionId: "q", available: false, info: "Publish stream is not ready"))
            plant.media.send(.connected(peer))
            try await ann.expect("a", .publishing)
            await ann.session.available(mediaSessionId: "q", name: "cam")
            #expect(await ann.next() == .availability(mediaSessionId: "q", available: true, info: nil))
        }
    }

    @Test func videoRatesAreToldOncePerSecond() async throws {
        try await withPlant { plant in
            try await plant.clock.sleeper(until: .seconds(1))
            let ann = try await plant.client()
            let bob = try await plant.client()
            let publisher = try await ann.publish("a")
            let player = try await bob.play("b")
            plant.count(publisher, received: 10_000, sent: 0)
            plant.count(player, received: 0, sent: 50_000)
            plant.clock.advance(by: .seconds(1))
            try await plant.clock.sleeper(until: .seconds(2))
            plant.count(publisher, received: 135_000, sent: 0, videoReceived: nil)
            plant.count(player, received: 0, sent: 300_000)
            plant.clock.advance(by: .seconds(1))
            #expect(await ann.next() == .videoRate(mediaSessionId: "a", published: true, bitsPerSecond: 1_000_000))
            #expect(await bob.next() == .videoRate(mediaSessionId: "b", published: false, bitsPerSecond: 2_000_000))
            try await plant.clock.sleeper(until: .seconds(3))
            #expect(await plant.plane.streams().first?.bitsPerSecond == 1_000_000)
            // Counters that went back, and no time for a rate: no event, and no crash.
            plant.count(publisher, received: 0, sent: 0)
            plant.count(player, received: 0, sent: 0)
            plant.clock.advance(by: .seconds(1))
            try await plant.clock.sleeper(until: .seconds(4))
            await ann.session.available(mediaSessionId: "q", name: "none")
            #expect(
                await ann.next() == .availability(mediaSessionId: "q", available: false, info: "Stream not found"))
        }
    }

    @Test(arguments: [true, false])
    func videoRatesAreNotToldWhenSwitchedOffOrNotOverWebSocket(whip: Bool) async throws {
        try await withPlant(ControlConfiguration(rateEvents: whip)) { plant in
            try await plant.clock.sleeper(until: .seconds(1))
            let ann = try await plant.client(whip ? .whip : .webSocket)
            let publisher = try await ann.publish("a")
            for second in 1...3 {
                plant.count(publisher, received: UInt64(second) * 125_000, sent: 0)
                plant.clock.advance(by: .seconds(1))
                try await plant.clock.sleeper(until: .seconds(second + 1))
            }
            #expect(await plant.plane.streams().first?.bitsPerSecond == 1_000_000, "lists show the rate all the same")
            await ann.session.stop(mediaSessionId: "a")
            try await ann.expect("a", .unpublished, "Stopped by user")
        }
    }
}

extension Plant {
    /// Sets the counters of a peer.
    fileprivate func count(_ peer: PeerID, received: UInt64, sent: UInt64, videoReceived: UInt64? = nil) {
        media.state.update {
            $0.statistics[peer] = PeerStatistics(
                bytesReceived: received, bytesSent: sent, videoBytesReceived: videoReceived)
        }
    }
}
