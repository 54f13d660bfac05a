"""The resources of an estate: one module per family, each `resources(estate) -> Iterator`.

identity        the gateway's identity
observation     workspace and diagnostic settings; with `monitor` the private link scope
security_groups what each subnet lets through
virtual_network the network and its subnets
endpoints       private endpoints, zones, links
foundry keyvault postgresql redis    the services
container_apps aks                   the compute
"""
