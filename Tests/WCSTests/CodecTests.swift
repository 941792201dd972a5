import Testing
import WCS
import WeirJSON

@Suite struct WCSCodecTests {
    private func decode(_ text: String) throws -> WCSRequest {
        try WCSCodec.decode(Array(text.utf8))
    }

    @Test func everyMessageOfTheSDKIsKnown() throws {
        for message in SDKMessages.all {
            let request = try decode(message.text)
            if case .unknown(let name) = request { Issue.record("\(name) of \(message.trace) is not known") }
        }
    }

    @Test func publishWithAllOptions() throws {
        let text = try #require(SDKMessages.all.first { $0.trace == "publish-options" }).text
        guard case .publishStream(let stream) = try decode(text) else {
            Issue.record("no publishStream")
            return
        }
        #expect(stream.mediaSessionId == "0c2a2390-e53d-11f1-8a7e-1bc7a0f06e9a")
        #expect(stream.name == "stream1")
        #expect(stream.record && stream.cvoExtension)
        #expect(stream.transport == "TCP")
        #expect(stream.mediaProvider == "WebRTC")
        #expect(stream.sdp.hasPrefix("v=0\r\no=- "))
        #expect(stream.bitrate == 1000)
        #expect(stream.minBitrate > 0 && stream.maxBitrate > stream.minBitrate)
        #expect(stream.rtmpUrl.hasPrefix("rtmp://"))
        #expect(stream.custom?.serialized == #"{"token":"abc","n":1}"#)
        #expect(stream.constraints != nil)
    }

    @Test func playWithAllOptions() throws {
        let text = try #require(SDKMessages.all.first { $0.trace == "play-options" }).text
        guard case .playStream(let stream) = try decode(text) else {
            Issue.record("no playStream")
            return
        }
        #expect(stream.width == 320 && stream.height == 240)
        #expect(stream.bitrate > 0 && stream.quality > 0)
        #expect(stream.custom?.serialized == #"{"token":"abc"}"#)
    }

    @Test func argumentsMayLackOrHaveOtherTypes() throws {
        for text in [
            #"{"message":"publishStream"}"#, #"{"message":"publishStream","data":[]}"#,
            #"{"message":"publishStream","data":[null]}"#, #"{"message":"publishStream","data":7}"#,
            #"{"message":"publishStream","data":[{"mediaSessionId":null}]}"#,
        ] {
            guard case .publishStream(let stream) = try decode(text) else {
                Issue.record("\(text)")
                continue
            }
            #expect(stream.mediaSessionId.isEmpty && stream.name.isEmpty && stream.bitrate == 0)
        }
        #expect(try decode(#"{"message":"pong"}"#) == .pong)
        #expect(try decode(#"{"message":"ping","data":[]}"#) == .ping)
        #expect(try decode(#"{"message":"abc","data":[{}],"more":1}"#) == .unknown(message: "abc"))
        let lenient =
            #"{"message":"publishStream","data":[{"name":7,"record":"true","maxBitrate":"500","bitrate":-3}]}"#
        guard case .publishStream(let stream) = try decode(lenient) else { return }
        #expect(stream.name == "7" && stream.record && stream.maxBitrate == 500 && stream.bitrate == 0)
    }

    @Test(arguments: ["[]", "null", "{}", #"{"message":5,"data":[]}"#, #"{"data":[]}"#, "7"])
    func whatIsNoEnvelopeIsRefused(_ text: String) {
        #expect(throws: WCSCodec.Failure.notAnEnvelope) { try decode(text) }
    }

    @Test func stopAndEventsKeepTheirIds() throws {
        #expect(
            try decode(#"{"message":"stopStream","data":[{"mediaSessionId":"a"}]}"#) == .stopStream(mediaSessionId: "a")
        )
        #expect(
            try decode(
                #"{"message":"sendStreamEvent","data":[{"mediaSessionId":"a","type":"data","payload":{"c":23}}]}"#)
                == .sendStreamEvent(
                    WCSStreamEvent(
                        mediaSessionId: "a", type: "data", payload: .object([JSONMember("c", .number("23"))]))))
    }

    @Test func mutatedMessagesNeverCrash() {
        var generator = Seeded(state: 7)
        for _ in 0..<20_000 {
            guard let message = SDKMessages.all.randomElement(using: &generator) else { return }
            _ = try? WCSCodec.decode(mutate(Array(message.text.utf8), &generator))
        }
    }
}

@Suite struct WCSMessageTests {
    @Test func formsAreThoseOfTheReference() {
        var publishing = WCSStreamStatus(
            mediaSessionId: "aa01-pub", name: "cam1", published: true, status: "PUBLISHING")
        publishing.hasVideo = true
        publishing.hasAudio = true
        publishing.record = true
        (publishing.width, publishing.height, publishing.bitrate, publishing.quality) = (0, 0, 0, 0)
        publishing.mediaProvider = "WebRTC"
        var playing = WCSStreamStatus(mediaSessionId: "bb02-play", name: "cam1", published: false, status: "PLAYING")
        playing.hasVideo = true
        playing.hasAudio = true
        playing.mediaProvider = "WebRTC"
        playing.audioMuted = false
        playing.videoMuted = false
        let failed = WCSStreamStatus(
            mediaSessionId: "cc03-pub", name: "cam1", published: true, status: "FAILED",
            info: "Stream name is already in use")
        let expected: [(WCSMessage, String)] = [
            (.ping, #"{"message":"ping","data":[null]}"#),
            (.pong, #"{"message":"pong","data":[null]}"#),
            (.getVersion("5.2.0"), #"{"message":"getVersion","data":["5.2.0"]}"#),
            (
                .setRemoteSDP(id: "aa01-pub", sdp: "v=0\r\n", isInitiator: true),
                #"{"message":"setRemoteSDP","data":["aa01-pub","v=0\r\n",true]}"#
            ),
            (
                .notifyStreamStatusEvent(publishing),
                #"{"message":"notifyStreamStatusEvent","data":[{"mediaSessionId":"aa01-pub","name":"cam1","#
                    + #""published":true,"hasVideo":true,"hasAudio":true,"status":"PUBLISHING","record":true,"width":0,"#
                    + #""height":0,"bitrate":0,"quality":0,"mediaProvider":"WebRTC"}]}"#
            ),
            (
                .notifyStreamStatusEvent(playing),
                #"{"message":"notifyStreamStatusEvent","data":[{"mediaSessionId":"bb02-play","name":"cam1","#
                    + #""published":false,"hasVideo":true,"hasAudio":true,"status":"PLAYING","mediaProvider":"WebRTC","#
                    + #""audioState":{"muted":false},"videoState":{"muted":false}}]}"#
            ),
            (
                .notifyStreamStatusEvent(failed),
                #"{"message":"notifyStreamStatusEvent","data":[{"mediaSessionId":"cc03-pub","name":"cam1","#
                    + #""published":true,"status":"FAILED","info":"Stream name is already in use"}]}"#
            ),
            (
                .notifyStreamEvent(WCSStreamEvent(mediaSessionId: "bb02-play", type: "audioMuted", payload: nil)),
                #"{"message":"notifyStreamEvent","data":[{"mediaSessionId":"bb02-play","type":"audioMuted"}]}"#
            ),
            (
                .notifyStreamEvent(
                    WCSStreamEvent(
                        mediaSessionId: "bb02-play", type: "resize",
                        payload: .verbatim(#"{"streamerVideoWidth":640,"streamerVideoHeight":360}"#))),
                #"{"message":"notifyStreamEvent","data":[{"mediaSessionId":"bb02-play","type":"resize","#
                    + #""payload":{"streamerVideoWidth":640,"streamerVideoHeight":360}}]}"#
            ),
            (
                .availableStream(id: "ee05", available: true, info: "unused"),
                #"{"message":"availableStream","data":[{"id":"ee05","status":"true"}]}"#
            ),
            (
                .availableStream(id: "ee05", available: false, info: "Stream not found"),
                #"{"message":"availableStream","data":[{"id":"ee05","status":"false","info":"Stream not found"}]}"#
            ),
            (
                .videoRate(mediaSessionId: "a", published: true, bitsPerSecond: 512_000),
                #"{"message":"inboundVideoRate","data":[{"mediaSessionId":"a","videoRate":512000}]}"#
            ),
            (
                .videoRate(mediaSessionId: "a", published: false, bitsPerSecond: 1),
                #"{"message":"outboundVideoRate","data":[{"mediaSessionId":"a","videoRate":1}]}"#
            ),
            (
                .fail(info: "Forbidden", apiMethod: "ConnectionStatusEvent", id: nil),
                #"{"message":"fail","data":[{"status":"FAILED","info":"Forbidden","apiMethod":"ConnectionStatusEvent"}]}"#
            ),
            (
                .fail(info: "Forbidden", apiMethod: "StreamStatusEvent", id: "cc03-pub"),
                #"{"message":"fail","data":[{"status":"FAILED","info":"Forbidden","apiMethod":"StreamStatusEvent","#
                    + #""id":"cc03-pub"}]}"#
            ),
            (
                .dataStatusEvent(operationId: "op-1", accepted: true, info: nil),
                #"{"message":"DataStatusEvent","data":[{"operationId":"op-1","status":"ACCEPTED"}]}"#
            ),
            (
                .finish(callId: "k-1", incoming: false, failure: nil, caller: "1000", callee: "1001"),
                #"{"message":"finish","data":[{"callId":"k-1","incoming":false,"status":"FINISH","#
                    + #""info":"Normal call clearing","caller":"1000","callee":"1001"}]}"#
            ),
        ]
        for (message, text) in expected { #expect(message.text == text) }
    }

    @Test func whatTheBackendExcludesIsLeftOutUnlessTheSDKNeedsIt() {
        var status = WCSStreamStatus(mediaSessionId: "m", name: "secret", published: false, status: "PLAYING")
        status.custom = .verbatim(#"{"a":1}"#)
        let message = WCSMessage.excluding(["name", "custom", "mediaSessionId"], .notifyStreamStatusEvent(status))
        #expect(
            message.text == #"{"message":"notifyStreamStatusEvent","data":[{"mediaSessionId":"m","published":false,"#
                + #""status":"PLAYING"}]}"#)
        let data = WCSMessage.onDataEvent(operationId: "o", payload: .verbatim("[1]"))
        #expect(data.text == #"{"message":"OnDataEvent","data":[{"operationId":"o","payload":[1]}]}"#)
        #expect(
            WCSMessage.fail(info: "x", apiMethod: nil, id: nil).text
                == #"{"message":"fail","data":[{"status":"FAILED","info":"x"}]}"#)
        #expect(
            WCSMessage.notifySessionDebugEvent(started: false, file: "f").text
                == #"{"message":"notifySessionDebugEvent","data":[{"status":"STOPPED","file":"f"}]}"#)
    }

    @Test func userDataEchoesWithoutSecrets() throws {
        let text =
            #"{"message":"connection","data":[{"appKey":"defaultApp","mediaProviders":["WebRTC","WSPlayer"],"#
            + #""clientVersion":"2.0","custom":{"user":"ann"},"sipLogin":"1000","sipPassword":"secret","#
            + #""authToken":"old","status":"PENDING","webRTCMetricsServerDescription":{}}]}"#
        guard case .connection(let request) = try WCSCodec.decode(Array(text.utf8)) else { return }
        #expect(request.authToken == "old")
        #expect(
            WCSMessage.getUserData(members: request.userData(authToken: "t-8d1c", appKey: "defaultApp")).text
                == #"{"message":"getUserData","data":[{"appKey":"defaultApp","mediaProviders":["WebRTC","WSPlayer"],"#
                + #""clientVersion":"2.0","custom":{"user":"ann"},"sipLogin":"1000","useWsTunnel":false,"#
                + #""useWsTunnelPacketization2":false,"useBase64BinaryEncoding":false,"authToken":"t-8d1c","#
                + #""status":"ESTABLISHED"}]}"#)
    }
}
