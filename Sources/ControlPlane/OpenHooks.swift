/// No backend: everyone may do everything, nobody is told.
package struct OpenHooks: SessionHooks {
    package init() {}
    package func attach(_ client: any HookedClient) {}
    package func ask(_ call: DirectCall) -> HookAnswer { HookAnswer(.allow) }
    package func tell(_ event: HookEvent, after: Gate?) -> Gate? { nil }
    package func clientExclude(_ method: HookMethod) -> Set<String> { [] }
    package func finish() {}
}

/// No backend for anybody.
package struct AllowAllBackend: BackendHooks {
    package init() {}
    package func connect(_ session: SessionFacts, _ request: ConnectRequest) async -> ConnectDecision {
        .allow(Admission(hooks: OpenHooks(), profile: request.profile, custom: request.custom))
    }
    package func play(_ viewer: ViewerRequest) async -> HookDecision { .allow }
    package func drain() async {}
}
