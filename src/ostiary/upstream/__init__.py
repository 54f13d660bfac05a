"""What every provider that speaks HTTP has in common; `providers/` says where, and with what.

calls         the pool, one exchange, when it is sent again, how the answer is read
faults        what each fault of a provider means for the caller
addresses     which addresses a host may have
egress        the resolver that holds connections to them
breaker       when a provider that keeps failing is left alone
credentials   what proves to the provider who asks: a key, or nothing
entra         the same with tokens of Microsoft Entra ID
paths         where the interfaces lie below a base URL
trust         whose certificates count
"""
