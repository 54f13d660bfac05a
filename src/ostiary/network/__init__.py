"""The network of an estate: written as a template, and read back by rules.

estate       ESTATE.toml → a frozen, checked description
resources/   the description → resources, one module per family
template     what a resource and its expressions are, free of any notation
arm az bicep the three notations
private_link which zones and ports a private service has: the one table that both sides use
expressions  ARM template expressions → values, as far as a file alone can tell
inventory    a template or the answers of Azure's REST API → one set of resources
traffic      what the rules of a security group let through
rules/       what must be true of an estate, one module per family
check        an inventory → findings
sarif        findings → SARIF 2.1.0
"""
