// swift-format-ignore-file

/// Messages that the unmodified Web SDK sent from Chromium, one of each form (name and set of members), compact, with
/// their SDP cut short. Made from the recordings described in `wcs-signalling.md`.
enum SDKMessages {
    static let all: [(trace: String, text: String)] = [
        ("call-incoming", #"""
            {"message":"connection","data":[{"appKey":"defaultApp","mediaProviders":["WebRTC","WSPlayer"],"clientVersion":"2.0","clientOSVersion":"5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/156.0.0.0 Safari/537.36","clientBrowserVersion":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/156.0.0.0 Safari/537.36","msePacketizationVersion":2,"sipLogin":"alice","sipDomain":"sip.example.test","sipRegisterRequired":true}]}
            """#),
        ("call-incoming", #"""
            {"message":"sendData","data":[{"operationId":"37724f00-e53d-11f1-a98f-475dbee0c191","payload":{"stub":"ring"}}]}
            """#),
        ("call-incoming", #"""
            {"message":"answer","data":[{"callId":"6cf6fa33-47fe-4f1d-998b-e9af36d8b063","incoming":true,"hasVideo":true,"hasAudio":true,"status":"PENDING","mediaProvider":"WebRTC","sdp":"v=0\r\no=- 8818277866389438603 2 IN IP4 12","callee":"alice"}]}
            """#),
        ("call-incoming", #"""
            {"message":"hangup","data":[{"callId":"6cf6fa33-47fe-4f1d-998b-e9af36d8b063"}]}
            """#),
        ("call", #"""
            {"message":"connection","data":[{"appKey":"defaultApp","mediaProviders":["WebRTC","WSPlayer"],"clientVersion":"2.0","clientOSVersion":"5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/156.0.0.0 Safari/537.36","clientBrowserVersion":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/156.0.0.0 Safari/537.36","msePacketizationVersion":2,"sipLogin":"alice","sipAuthenticationName":"alice","sipPassword":"secret","sipDomain":"sip.example.test","sipOutboundProxy":"sip.example.test","sipPort":5060,"sipRegisterRequired":true}]}
            """#),
        ("call", #"""
            {"message":"call","data":[{"callId":"343880c0-e53d-11f1-9107-69f28bca48e9","incoming":false,"hasVideo":false,"hasAudio":true,"status":"PENDING","mediaProvider":"WebRTC","sdp":"v=0\r\no=- 5668924127717076908 2 IN IP4 12","caller":"alice","callee":"bob","visibleName":"Alice"}]}
            """#),
        ("call", #"""
            {"message":"sendDtmf","data":[{"callId":"343880c0-e53d-11f1-9107-69f28bca48e9","type":"RFC2833","dtmf":"5"}]}
            """#),
        ("call", #"""
            {"message":"hold","data":[{"callId":"343880c0-e53d-11f1-9107-69f28bca48e9"}]}
            """#),
        ("call", #"""
            {"message":"unhold","data":[{"callId":"343880c0-e53d-11f1-9107-69f28bca48e9"}]}
            """#),
        ("call", #"""
            {"message":"transfer","data":[{"callId":"343880c0-e53d-11f1-9107-69f28bca48e9","target":"carol"}]}
            """#),
        ("connect-options", #"""
            {"message":"connection","data":[{"appKey":"defaultApp","mediaProviders":["WebRTC","WSPlayer"],"keepAlive":true,"authToken":"token-1","clientVersion":"2.0","clientOSVersion":"5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/156.0.0.0 Safari/537.36","clientBrowserVersion":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/156.0.0.0 Safari/537.36","msePacketizationVersion":2,"custom":{"login":"alice","n":1}}]}
            """#),
        ("connect-options", #"""
            {"message":"ping","data":[null]}
            """#),
        ("connect-options", #"""
            {"message":"pong","data":[null]}
            """#),
        ("connect-options", #"""
            {"message":"sessionDebug","data":[{"command":"start"}]}
            """#),
        ("connect-options", #"""
            {"message":"submitBugReport","data":[{"text":"it broke","type":"other"}]}
            """#),
        ("connect", #"""
            {"message":"connection","data":[{"appKey":"defaultApp","mediaProviders":["WebRTC","WSPlayer"],"clientVersion":"2.0","clientOSVersion":"5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/156.0.0.0 Safari/537.36","clientBrowserVersion":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/156.0.0.0 Safari/537.36","msePacketizationVersion":2}]}
            """#),
        ("events", #"""
            {"message":"publishStream","data":[{"mediaSessionId":"301982a0-e53d-11f1-9a41-b77b06c6b8e0","name":"stream1","published":true,"hasVideo":true,"hasAudio":true,"status":"PENDING","record":false,"mediaProvider":"WebRTC","sdp":"v=0\r\no=- 6708283514167358691 2 IN IP4 12","bitrate":0,"minBitrate":0,"maxBitrate":0,"constraints":{"audio":true,"video":{"width":640,"height":360,"frameRate":30}}}]}
            """#),
        ("events", #"""
            {"message":"playStream","data":[{"mediaSessionId":"31608190-e53d-11f1-b6f2-03e07452f1e2","name":"stream1","published":false,"hasVideo":true,"hasAudio":true,"status":"PENDING","record":false,"width":0,"height":0,"mediaProvider":"WebRTC","sdp":"v=0\r\no=- 3380163485451489545 2 IN IP4 12","bitrate":0,"minBitrate":0,"maxBitrate":0,"quality":0}]}
            """#),
        ("events", #"""
            {"message":"sendStreamEvent","data":[{"mediaSessionId":"301982a0-e53d-11f1-9a41-b77b06c6b8e0","type":"audioMuted"}]}
            """#),
        ("events", #"""
            {"message":"snapshot","data":[{"name":"stream1","mediaSessionId":"301982a0-e53d-11f1-9a41-b77b06c6b8e0"}]}
            """#),
        ("events", #"""
            {"message":"sendStreamEvent","data":[{"mediaSessionId":"301982a0-e53d-11f1-9a41-b77b06c6b8e0","type":"data","payload":{"count":23,"text":"hello"}}]}
            """#),
        ("events", #"""
            {"message":"availableStream","data":[{"mediaSessionId":"32a7cea0-e53d-11f1-b6f2-03e07452f1e2","name":"stream1"}]}
            """#),
        ("play-audio-only", #"""
            {"message":"playStream","data":[{"mediaSessionId":"579e6480-e53d-11f1-9dcb-857c0821f984","name":"stream1","published":false,"hasVideo":true,"hasAudio":true,"status":"PENDING","record":false,"width":0,"height":0,"mediaProvider":"WebRTC","sdp":"v=0\r\no=- 7976270780637595656 2 IN IP4 12","bitrate":0,"minBitrate":0,"maxBitrate":0,"quality":0,"constraints":{"audio":true,"video":false}}]}
            """#),
        ("play-audio-only", #"""
            {"message":"stopStream","data":[{"mediaSessionId":"579e6480-e53d-11f1-9dcb-857c0821f984","name":"stream1","published":false,"hasVideo":true,"hasAudio":true,"status":"PLAYING","record":false}]}
            """#),
        ("play-options", #"""
            {"message":"playStream","data":[{"mediaSessionId":"27debab0-e53d-11f1-9a53-3dc3fb016abd","name":"stream1","published":false,"hasVideo":true,"hasAudio":true,"status":"PENDING","record":false,"width":320,"height":240,"mediaProvider":"WebRTC","sdp":"v=0\r\no=- 5688742125445944595 2 IN IP4 12","custom":{"token":"abc"},"bitrate":500,"minBitrate":0,"maxBitrate":0,"quality":30,"constraints":{"audio":{"stereo":true,"outputId":"default"},"video":{"width":320,"height":240,"bitrate":500,"quality":30}},"transport":"UDP","cvoExtension":false}]}
            """#),
        ("publish-audio-only", #"""
            {"message":"unPublishStream","data":[{"mediaSessionId":"07ddd3e0-e53d-11f1-8246-dd4f56a88211","name":"stream1","published":true,"hasVideo":true,"hasAudio":true,"status":"PUBLISHING","record":false}]}
            """#),
        ("publish-no-constraints", #"""
            {"message":"publishStream","data":[{"mediaSessionId":"0d996b00-e53d-11f1-83d6-97c0109cac19","name":"stream1","published":true,"hasVideo":true,"hasAudio":true,"status":"PENDING","record":false,"mediaProvider":"WebRTC","sdp":"v=0\r\no=- 6048816584101804216 2 IN IP4 12","bitrate":0,"minBitrate":0,"maxBitrate":0}]}
            """#),
        ("publish-options", #"""
            {"message":"publishStream","data":[{"mediaSessionId":"0c2a2390-e53d-11f1-8a7e-1bc7a0f06e9a","name":"stream1","published":true,"hasVideo":true,"hasAudio":true,"status":"PENDING","record":true,"mediaProvider":"WebRTC","sdp":"v=0\r\no=- 5031398642041112456 2 IN IP4 12","custom":{"token":"abc","n":1},"bitrate":1000,"minBitrate":300,"maxBitrate":1500,"rtmpUrl":"rtmp://example.test/live","constraints":{"audio":{"stereo":true,"bitrate":64000,"fec":true},"video":{"width":640,"height":360,"frameRate":30,"minBitrate":300,"maxBitrate":1500,"bitrate":1000}},"transport":"TCP","cvoExtension":true}]}
            """#),
    ]
}
